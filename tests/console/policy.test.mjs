// A policy is edited, checked, simulated, tested, activated, and taken back; two people at once lose nothing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Account, System } from './lib/system.mjs';

let system, browser, operator, person;

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  operator = await Account.create(system, 'operator@example.org');
  person = await Person.arrive(browser, system);
  await person.login('operator@example.org');
  await person.go('policies/canary');
  await person.page.locator('.cm-content').waitFor();
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

/** Puts the cursor behind a text of the editor's and types. */
async function typeBehind(text, typed) {
  const { page } = person;
  await page.getByRole('textbox', { name: 'Source of the policy' }).click();
  await page.keyboard.press('Control+f');
  await page.keyboard.type(text);
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.type(typed);
}

test('a mistake is shown as it is typed, with its line', async () => {
  const { page } = person;
  await typeBehind('"skip", and why', '\nlocal x = device.chp\n');
  await page.getByText(/did you mean chip/).first().waitFor();
  for (let i = 0; i < 40; i++) await page.keyboard.press('Control+z');
  await page.getByText('No problems').waitFor();
});

test('fields are completed', async () => {
  const { page } = person;
  await typeBehind('advance = function(rollout, stats, ctx)', '\n    local seen_now = stats.fail');
  await page.getByRole('option', { name: /failure_low/ }).first().waitFor();
  await page.keyboard.press('Escape');
  for (let i = 0; i < 60; i++) await page.keyboard.press('Control+z');
  await page.getByText('No problems').waitFor();
});

test('simulate it', async () => {
  const { page } = person;
  await page.getByRole('button', { name: 'Simulate' }).click();
  await page.getByText(/of [\d,]+ devices? succeed/).first().waitFor();
});

test('a simulation ends with the page that asked for it', async () => {
  const { page } = person;
  const simulation = (request) => request.url().endsWith('/policies/simulate');
  await page.route('**/policies/simulate', () => {}); // takes forever
  const [sent, ended] = [page.waitForRequest(simulation), page.waitForEvent('requestfailed', simulation)];
  await page.getByRole('button', { name: 'Simulate' }).click();
  await sent;
  await person.go('policies');
  await ended;
  await page.unroute('**/policies/simulate');
  await person.go('policies/canary');
  await page.locator('.cm-content').waitFor();
});

test('run its tests', async () => {
  const { page } = person;
  await page.getByRole('tab', { name: 'Tests' }).click();
  await page.getByRole('button', { name: /Run/ }).click();
  await page.getByText(/passed/).first().waitFor();
});

test('activate a change, see it in force and in its revisions, and take it back', async () => {
  const { page } = person;
  const before = await operator.call('GET', '/policies/canary');
  await typeBehind('return {', ' -- watched closely');
  await page.getByRole('button', { name: /Activate/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('watched closely').first().waitFor();
  await dialog.getByRole('textbox', { name: /What changed/ }).fill('A word on it');
  await dialog.getByRole('button', { name: 'Activate' }).click();
  await dialog.waitFor({ state: 'detached' });
  const now = await operator.call('GET', '/policies/canary');
  assert.match(now.source, /watched closely/);
  assert.equal(now.message, 'A word on it');
  await page.getByRole('tab', { name: 'Revisions' }).click();
  await page.getByText('A word on it').first().waitFor();
  await page.getByRole('button', { name: /Go back/ }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: /Go back/ }).click();
  await page.getByText(`Revision ${before.revision.slice(0, 8)} is in force again.`).waitFor();
  assert.equal((await operator.call('GET', '/policies/canary')).revision, before.revision);
});

test('the list of revisions stays while nothing comes into force', async () => {
  const { page } = person;
  const asked = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await Promise.all([
    page.waitForResponse((answer) => new URL(answer.url()).pathname === '/policies/canary'),
    page.evaluate(() => dispatchEvent(new Event('focus'))), // the page looks at what is in force
  ]);
  await person.settled();
  assert.deepEqual(asked.filter((path) => path.endsWith('/revisions')), []);
});

test('somebody else was faster: both texts are there', async () => {
  const { page } = person;
  const source = page.getByRole('textbox', { name: 'Source of the policy' });
  const theirs = await operator.call('GET', '/policies/canary');
  await typeBehind('return {', ' -- mine');
  await fetch(`${system.url}/policies/canary`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${operator.token}`, 'content-type': 'application/json', 'if-match': `"${theirs.revision}"` },
    body: JSON.stringify({ source: theirs.source.replace('600', '300'), message: 'theirs' }),
  });
  await page.getByRole('button', { name: /Activate/ }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Activate' }).click();
  await page.getByRole('heading', { name: 'Somebody was faster' }).waitFor();
  assert.match((await operator.call('GET', '/policies/canary')).source, /per_minute = 300/);

  // Theirs is taken; what was written is offered again.
  await dialog.getByRole('button', { name: 'Take theirs' }).click();
  await dialog.waitFor({ state: 'detached' });
  await source.getByText('= 300').waitFor();
  assert.doesNotMatch(await source.innerText(), /-- mine/);
  await page.getByRole('button', { name: 'Restore it' }).click();
  await source.getByText('-- mine').waitFor();

  // Both fit together.
  await page.getByRole('button', { name: 'See and merge' }).click();
  await dialog.getByRole('button', { name: 'Merge' }).click();
  await dialog.getByText('both fit').waitFor();
  await dialog.getByRole('button', { name: 'Use this text' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: /Activate/ }).click();
  await dialog.getByRole('button', { name: 'Activate' }).click();
  await dialog.waitFor({ state: 'detached' });
  const { source: merged } = await operator.call('GET', '/policies/canary');
  assert.match(merged, /-- mine/);
  assert.match(merged, /per_minute = 300/);
  assert.deepEqual(person.complaints, []);
});

test('what was written and not activated is offered until somebody decides, however much is written since', async () => {
  const { page } = person;
  const source = page.getByRole('textbox', { name: 'Source of the policy' });
  page.on('dialog', (asked) => asked.accept());
  for (const text of [' -- first', ' -- second']) {
    await typeBehind('return {', text);
    await page.getByText('not activated', { exact: true }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'Restore it' }).waitFor();
  }
  await page.getByRole('button', { name: 'Discard it' }).click();
  await page.getByRole('button', { name: 'Restore it' }).click();
  await source.getByText('-- first').waitFor();
  assert.doesNotMatch(await source.innerText(), /-- second/);
  assert.equal(await page.getByRole('button', { name: 'Restore it' }).count(), 0);
  assert.deepEqual(person.complaints, []);
});
