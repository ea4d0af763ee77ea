// Drives the console in chromium, as its tests do, and prints as JSON what it found.
//   node drive.mjs pages JSON   every page {rounds} times: what each request took, and until each page was there
//   node drive.mjs watch JSON   one page for {seconds}: what the live feed costs it
import { launch, Person } from '../../console/lib/browser.mjs';

const QUIET = 150; // ms without a request after which no more is expected
const PATIENCE = 120_000; // ms for what computes

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const API = new Set(['xhr', 'fetch']);

/** What a person's page asks of the API: {what: [ms]}, by their paths, ids left out. */
class Requests {
  constructor(page) {
    this.took = {};
    this.open = 0;
    this.last = 0;
    const end = (request, failed) => {
      if (!API.has(request.resourceType())) return;
      this.open--;
      this.last = performance.now();
      if (!failed) (this.took[nameOf(request)] ??= []).push(request.timing().responseEnd);
    };
    page.on('request', (request) => {
      if (!API.has(request.resourceType())) return;
      this.open++;
      this.last = performance.now();
    });
    page.on('requestfinished', (request) => end(request, false));
    page.on('requestfailed', (request) => end(request, true));
  }

  /** Until all are answered, and those that follow from what was just done; when the last was. */
  async quiet() {
    const asked = performance.now();
    while (performance.now() - asked < QUIET || this.open > 0 || performance.now() - this.last < QUIET) await new Promise((done) => setTimeout(done, 10));
    return this.last;
  }
}

function nameOf(request) {
  const { pathname, search } = new URL(request.url());
  const query = decodeURIComponent(search)
    .replace(/\b(cursor|from|to)=[^&]*/g, '$1=…')
    .replace(/\b((?:\w+_)?id)=\d+/g, '$1=…');
  return `${request.method()} ${pathname.replace(/\/\d+/g, '/:id')}${query}`;
}

const click = (name, times = 1) => async (page) => {
  for (let i = 0; i < times; i++) await page.getByRole('button', { name, exact: true }).first().click();
};

/** name: [path, what to do there, of what the answer is waited for]. Each round looks at other devices and rollouts. */
function pages({ devices, rollouts, firmware }, round) {
  const device = `devices/${devices[round % devices.length]}`;
  const rollout = `rollouts/${rollouts[round % rollouts.length]}`;
  const image = firmware[round % firmware.length];
  return {
    home: [''],
    devices: ['devices', click('Show more', 5)],
    'devices: word': [`devices?q=sensor ${1000 + round}`],
    'devices: rare': [`devices?q=nothing-like-${round}`],
    'devices: letter': ['devices?q=7'],
    'devices: failed': ['devices?update=failed'],
    'devices: updating': ['devices?update=under_way'],
    'devices: tag': [`devices?tag=site:hall-${round}`],
    'devices: chip, version': ['devices?chip=esp32c6&version=1.1.0'],
    'devices: silent': ['devices?silent_for=86400'],
    'devices: offline, heard': ['devices?online=false&heard_within=86400'],
    'devices: battery': ['devices?battery_below=20'],
    'devices: firmware': [`devices?firmware_id=${image}`],
    'add device': ['devices/add'],
    device: [device],
    'device: charts': [`${device}?tab=telemetry`],
    'device: logs': [`${device}?tab=logs`],
    'device: timeline': [`${device}?tab=timeline`, click('Show more', 3)],
    'device: updates': [`${device}?tab=updates`],
    firmware: ['firmware'],
    'firmware: one': [`firmware/${image}`],
    rollouts: ['rollouts'],
    'rollouts: completed': ['rollouts?state=completed'],
    rollout: [rollout, click('Show more', 3)],
    'rollout: failed': [`${rollout}?state=failed`],
    'rollout: rejected': [`${rollout}?state=rejected`],
    policies: ['policies'],
    policy: ['policies/canary'],
    'policy: revisions': ['policies/canary?tab=revisions'],
    'policy: simulate': ['policies/canary?tab=simulate', click('Simulate'), '/policies/simulate'],
    'policy: replay': ['policies/canary?tab=replay', click('Replay'), '/replay'],
    'policy: tests': ['policies/canary?tab=tests', click('Run tests'), '/policies/canary/test'],
    'new rollout': [`rollouts/new?firmware_id=${image}`, undefined, '/policies/simulate'],
    audit: ['audit', click('Show more', 3)],
    'audit: device': [`audit?kind=device&id=${devices[0]}`],
    'audit: action': ['audit?action=session.login'],
    'audit: rare': ['audit?action=user.role'],
    users: ['users'],
    settings: ['settings'],
  };
}

async function look(person, requests, path, act, computed) {
  const answer = computed && person.page.waitForResponse((one) => one.url().endsWith(computed), { timeout: PATIENCE });
  const began = performance.now();
  await person.go(path);
  const settled = performance.now() - began;
  const answered = Math.max((await requests.quiet()) - began, settled);
  await act?.(person.page);
  await answer;
  await requests.quiet();
  return { settled, answered };
}

/** Loads the list of devices as a browser does that was never here: until a row can be chosen, and what came over the wire. */
async function load(person) {
  const client = await person.context.newCDPSession(person.page);
  await client.send('Network.enable');
  await client.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  client.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  const began = performance.now();
  await person.page.goto(`${person.system.url}/ui/devices`);
  await person.page.locator('tbody input[type=checkbox]').first().click();
  await person.page.locator('otad-bulk-bar').waitFor();
  const interactive = performance.now() - began;
  await person.settled();
  await client.detach();
  return { interactive, bytes };
}

async function everyPage(person, setting) {
  const requests = new Requests(person.page);
  const found = { pages: {}, loads: [] };
  for (let round = 0; round <= setting.rounds; round++) {
    found.loads.push(await load(person));
    for (const [name, [path, ...more]] of Object.entries(pages(setting, round))) {
      (found.pages[name] ??= []).push(await look(person, requests, path, ...more));
    }
    // The first round loads each page's code, and warms the server.
    if (round === 0) Object.assign(found, { pages: {}, loads: [] }) && (requests.took = {});
  }
  return { ...found, requests: requests.took };
}

/** Runs in the page, before the console does. */
function probe() {
  const counted = (globalThis.probe = { messages: 0, long: [], frames: [] });
  globalThis.WebSocket = class extends WebSocket {
    constructor(...words) {
      super(...words);
      this.addEventListener('message', () => counted.messages++);
    }
  };
  new PerformanceObserver((list) => counted.long.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
  let last = performance.now();
  requestAnimationFrame(function frame(at) {
    counted.frames.push(at - last);
    last = at;
    requestAnimationFrame(frame);
  });
}

async function watch(person, { path, seconds }) {
  const { page } = person;
  const requests = new Requests(page);
  await person.go(path);
  await requests.quiet();
  const client = await person.context.newCDPSession(page);
  await client.send('Performance.enable');
  const heap = async () => {
    await client.send('HeapProfiler.collectGarbage');
    const { metrics } = await client.send('Performance.getMetrics');
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return { mib: of('JSHeapUsedSize') / 2 ** 20, nodes: of('Nodes'), busy: of('TaskDuration') };
  };
  const before = await heap();
  await page.evaluate(() => Object.assign(globalThis.probe, { messages: 0, long: [], frames: [] }));
  requests.took = {};
  const course = [];
  for (let i = 0; i < 6; i++) {
    await page.waitForTimeout((seconds * 1000) / 6);
    course.push(await page.evaluate(() => performance.memory.usedJSHeapSize / 2 ** 20));
  }
  const { messages, long, frames } = await page.evaluate(() => globalThis.probe);
  const after = await heap();
  frames.sort((a, b) => a - b);
  return {
    messages: messages / seconds,
    requests: Object.values(requests.took).flat().length / seconds,
    busy: (100 * (after.busy - before.busy)) / seconds,
    long: long.length,
    longest: Math.max(0, ...long),
    frame: median(frames),
    frame99: frames[Math.floor(frames.length * 0.99)],
    before: before.mib,
    after: after.mib,
    nodes: after.nodes - before.nodes,
    course,
  };
}

const [what, text] = process.argv.slice(2);
const setting = JSON.parse(text);
const browser = await launch();
try {
  const person = await Person.arrive(browser, { url: setting.url });
  if (what === 'watch') await person.page.addInitScript(probe);
  await person.login(setting.email);
  const found = await (what === 'watch' ? watch : everyPage)(person, setting);
  if (person.complaints.length) throw new Error(person.complaints.join('\n'));
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
