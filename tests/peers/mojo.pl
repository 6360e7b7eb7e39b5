# Holds a conversation with Perl's Mojo::UserAgent: perl mojo.pl STAFF_URL CUSTOMER_URL. tests/src/peer.rs says
# what all the clients here do.
use Mojo::Base -strict, -signatures;
use utf8;

use Mojo::IOLoop;
use Mojo::JSON qw(from_json to_json);
use Mojo::UserAgent;
use Mojo::Util qw(encode);

my $ua = Mojo::UserAgent->new(inactivity_timeout => 0);
$ua->transactor->name('mojo');
STDOUT->autoflush;

sub same ($found, $wanted) {
  die "expected <$wanted>, found <$found>" if ($found // '') ne $wanted;
}

# Lets the loop run until the condition holds; who started us gives up on us after a while.
sub wait_for ($holds) {
  Mojo::IOLoop->one_tick until $holds->();
}

sub connects ($url) {
  my $peer = {frames => [], pongs => []};
  $ua->websocket($url => sub ($ua, $tx) {
    die 'no WebSocket: ' . ($tx->error || {})->{message} unless $tx->is_websocket;
    $peer->{tx} = $tx;
    $tx->on(text => sub ($tx, $bytes) {
      my $text = Mojo::Util::decode('UTF-8', $bytes) // die 'not UTF-8';
      say '< ', encode('UTF-8', substr $text, 0, 200);
      push @{$peer->{frames}}, $text;
    });
    $tx->on(binary => sub { die 'frames are text' });
    $tx->on(frame  => sub ($tx, $frame) { push @{$peer->{pongs}}, $frame->[5] if $frame->[4] == 10 });
    $tx->on(finish => sub ($tx, $code, $reason = '') { $peer->{closed} = join ' ', $code // '', $reason // '' });
  });
  wait_for(sub { $peer->{tx} });
  same($peer->{tx}->protocol, '');
  same($peer->{tx}->res->headers->sec_websocket_extensions, '');
  hears($peer, 'welcome', 'welcome');
  return $peer;
}

sub text ($peer) {
  wait_for(sub { @{$peer->{frames}} || defined $peer->{closed} });
  return shift(@{$peer->{frames}}) // die "closed: $peer->{closed}";
}

sub hears ($peer, $action, $code) {
  my $frame = from_json(text($peer));
  same($frame->{action}, $action);
  same($frame->{payload}{code}, $code);
  return $frame->{payload};
}

sub says ($peer, $action, $payload = {}) {
  $peer->{tx}->send(to_json({action => $action, payload => $payload}));
}

sub closes_with ($peer, $wanted) {
  wait_for(sub { defined $peer->{closed} });
  same($peer->{closed}, $wanted);
}

my ($staff_url, $customer_url) = @ARGV;
my $staff = connects($staff_url);
says($staff, staffOnline => {name => 'mojo'});
hears($staff, 'message', 'on_duty');
my $customer = connects($customer_url);
says($customer, 'customerConnect');
hears($customer, 'message', 'connected');
hears($staff,    'message', 'new_customer');

says($customer, message => {message => '你好 😀', id => 'm1'});
same(hears($customer, 'ack', '')->{ref}, 'm1');
my $heard = hears($staff, 'message', '');
same("$heard->{from} $heard->{message}", 'customer 你好 😀');
my $long = '长' x 5461;
says($staff, message => {message => $long});
same(hears($customer, 'message', '')->{message}, $long);

$customer->{tx}->send('PING');
same(text($customer), 'PONG');
$customer->{tx}->send([0, 0, 0, 0, 1, 'PI']);
$customer->{tx}->send([1, 0, 0, 0, 0, 'NG']);
same(text($customer), 'PONG');
$customer->{tx}->send([1, 0, 0, 0, 9, 'hello']);
wait_for(sub { @{$customer->{pongs}} });
same($customer->{pongs}[0], 'hello');

$customer->{tx}->finish(1000, 'bye');
closes_with($customer, '1000 bye');
hears($staff, 'chat_close', 'customer_left');
$staff->{tx}->send('x' x (64 * 1024 + 1));
closes_with($staff, '1009 too_big');
my $other = connects($customer_url);
$other->{tx}->send({binary => "\1\2\3"});
closes_with($other, '1003 binary_frame');
