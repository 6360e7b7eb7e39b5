// Several people in one page or one process of Node, led by the test: `crowd` tells it what happens and does what it answers.

import { Person } from './person.mjs';

const REPORT_MS = 100;

/** `control`: where the test listens; `name`: of this page or process; `reload`: how to, if it can. */
export async function crowd({ Frontdesk, control, name, options = () => ({}), reload }) {
  const get = async (path) => (await fetch(`${control}${path}`)).text();
  const { load, people } = JSON.parse(await get(`/enter?page=${name}`));
  let records = [];
  const note = (record) => void records.push(record);
  const persons = people.map((as) => new Person(Frontdesk, { ...as, token: () => get(`/token?uid=${as.uid}&role=${as.role}`) },
    options(as), note));
  let act = 'live';
  let stopped = false;

  /** Everything that happened, in order; answers what to do. */
  const report = async (bye = false) => {
    const batch = records;
    records = [];
    const body = JSON.stringify({
      load, bye, records: batch, settled: persons.every((person) => person.isSettled), live: persons.every((person) => person.isLive),
    });
    return (await fetch(`${control}/report?page=${name}`, { method: 'POST', body })).text();
  };
  const live = async (person) => {
    while (!stopped) {
      person.act(act);
      await new Promise((done) => setTimeout(done, 30 + 120 * Math.random()));
    }
  };
  for (const person of persons) void live(person);
  for (;;) {
    act = await report();
    if (act === 'leave') break;
    if (act === 'reload') {
      stopped = true;
      persons.forEach((person) => person.freeze());
      await report();
      return reload();
    }
    await new Promise((done) => setTimeout(done, REPORT_MS));
  }
  stopped = true;
  await Promise.all(persons.map((person) => person.leave()));
  await report(true);
}
