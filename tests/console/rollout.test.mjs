// A rollout from its preview to its end, by what an operator sees and clicks; and why a device was left out.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Account, System, until } from './lib/system.mjs';

let system, browser, operator, person, next;
const devices = [];

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  operator = await Account.create(system, 'operator@example.org');
  const first = await system.image({ version: '1.0.0' });
  await operator.upload(first);
  next = await operator.upload(await system.image({ version: '1.1.0' }));
  for (let i = 1; i <= 3; i++) {
    const fields = { device_code: `desk-${i}`, chip: 'esp32', tags: { site: i < 3 ? 'north' : 'south' } };
    const registration = await operator.call('POST', '/devices/register', fields);
    devices.push(registration.device.id);
    await system.device(registration, '--initial', first, ...(i === 3 ? ['--battery', '9'] : []));
  }
  await operator.call('POST', '/devices/register', { device_code: 'other-chip', chip: 'esp32c3', tags: { site: 'north' } });
  await until(async () => (await operator.call('GET', '/devices?online=true')).items.length === 3, 'all are online');
  person = await Person.arrive(browser, system);
  await person.login('operator@example.org');
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

test('plan it: the preview tells who gets it, who does not and why', async () => {
  const { page } = person;
  await person.go(`rollouts/new?firmware_id=${next.id}`);
  await page.getByRole('textbox', { name: 'Name' }).fill('North first');
  await page.getByRole('combobox', { name: 'Policy' }).click();
  await page.getByRole('option', { name: 'wait_for_approval' }).click();
  await page.getByRole('combobox', { name: 'Tags' }).fill('site:north');
  await page.keyboard.press('Enter');
  await page.getByText(/2 devices/).first().waitFor();
  await page.getByRole('button', { name: 'Start rollout' }).click();
  await page.getByRole('heading', { level: 1, name: 'North first' }).waitFor();
  await page.waitForURL(/\/rollouts\/\d+$/);
});

test('watch it pause for approval, resume it, see it complete', async () => {
  const { page } = person;
  await page.locator('otad-header').getByText('Paused').waitFor({ timeout: 60_000 });
  await page.getByText(/waiting for approval/).first().waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('dialog').getByRole('textbox', { name: /Reason/ }).fill('looks good');
  await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click();
  await page.locator('otad-header').getByText('Completed').waitFor({ timeout: 60_000 });
  await page.getByText('looks good').first().waitFor();
  const rollout = (await operator.call('GET', '/rollouts')).items[0];
  assert.deepEqual([rollout.state, rollout.counts.succeeded, rollout.counts.targeted], ['completed', 2, 2]);
});

test('who cancels a question has said no', async () => {
  const { page } = person;
  await page.getByRole('button', { name: 'Roll back' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal((await operator.call('GET', '/rollouts')).items[0].state, 'completed');
});

test('what is typed of a target counts, be it finished or not; what is no tag starts nothing', async () => {
  const { page } = person;
  const tags = page.getByRole('combobox', { name: 'Tags' });
  const start = page.getByRole('button', { name: 'Start rollout' });
  await person.go(`rollouts/new?firmware_id=${next.id}&policy=wait_for_approval`);
  await tags.click();
  await tags.pressSequentially('site=south');
  await start.click();
  await page.getByText('A tag is written name:value').waitFor();
  assert.equal(await tags.getAttribute('aria-invalid'), 'true');
  assert.equal(await tags.evaluate((box) => box === document.activeElement), true);
  assert.equal((await operator.call('GET', '/rollouts')).items.length, 1);
  await tags.fill('');
  await tags.pressSequentially('site:north');
  await page.getByRole('option', { name: /site:north/ }).waitFor();
  await start.click();
  await page.waitForURL(/\/rollouts\/\d+$/);
  const [{ target }] = (await operator.call('GET', '/rollouts')).items;
  assert.deepEqual(target, { chip: 'esp32', tags: { site: 'north' } });
});

test('a device held by its policy says why, with the rule', async () => {
  await operator.call('POST', '/rollouts', { name: 'South', firmware_id: next.id, policy: 'canary', target: { device_ids: [devices[2]] } });
  await until(
    async () => /battery/.test((await operator.call('GET', `/devices/${devices[2]}/explain`)).explanation),
    'the policy has held it',
  );
  await person.go(`devices/${devices[2]}`);
  await person.page.getByText(/battery below 30 %/).first().waitFor();
  await person.page.getByRole('link', { name: /canary/ }).first().click();
  await person.page.getByRole('heading', { level: 1, name: 'canary' }).waitFor();
});

test('abort it from its page', async () => {
  const { page } = person;
  await person.go('rollouts');
  await page.getByRole('link', { name: 'South' }).click();
  await page.getByRole('button', { name: 'Abort' }).click();
  await page.getByRole('dialog').getByRole('button', { name: /Abort/ }).click();
  await page.locator('otad-header').getByText('Aborted').waitFor();
  assert.deepEqual(person.complaints, []);
});

test('many devices at once: chosen in the list, changed by the server', async () => {
  const { page } = person;
  await person.go('devices');
  for (const name of ['desk-1', 'desk-2']) await page.getByRole('checkbox', { name: `Select ${name}` }).check();
  await page.getByText('2 devices selected').waitFor();
  await page.getByRole('button', { name: 'Change tags' }).click();
  const dialog = page.getByRole('dialog');
  for (const tag of ['ring:0', 'floor:2']) {
    await dialog.getByRole('combobox', { name: 'Set' }).fill(tag);
    await page.keyboard.press('Enter');
  }
  await dialog.getByRole('button', { name: 'Change tags' }).click();
  await page.getByText(/2 of 2 looked at, 2 tagged/).waitFor();
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('link', { name: 'floor:2' }).first().waitFor();
  assert.equal((await operator.call('GET', `/devices/${devices[0]}`)).tags.ring, '0');
  assert.deepEqual(person.complaints, []);
});

test('what the server does with many devices is seen again by who comes back', async () => {
  const { page } = person;
  // A device that somebody else changes: the server cannot go on until that is over.
  const held = system.psql(`select from devices where id = ${devices[0]} for update; select pg_sleep(600)`).catch(() => {});
  const holder = "from pg_stat_activity where query like '%pg_sleep(600)' and pid <> pg_backend_pid()";
  await until(async () => (await system.psql(`select count(*) ${holder}`)) === '1', 'the device is held');
  await person.go('devices');
  await page.getByRole('checkbox', { name: 'Select desk-1' }).check();
  await page.getByRole('button', { name: 'Change tags' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('combobox', { name: 'Set' }).fill('room:9');
  await dialog.getByRole('button', { name: 'Change tags' }).click();
  await page.getByText(/0 of 1 looked at/).waitFor();
  await person.go('rollouts');
  await person.go('devices');
  await page.getByText(/0 of 1 looked at/).waitFor();
  await system.psql(`select pg_terminate_backend(pid) ${holder}`);
  await held;
  await page.getByText(/1 of 1 looked at, 1 tagged/).waitFor({ timeout: 60_000 });
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('link', { name: 'room:9' }).first().waitFor();
  assert.deepEqual(person.complaints, []);
});

test('a search keeps what is typed, and is one step of the history', async () => {
  const { page } = person;
  await person.go('devices');
  const box = page.getByRole('search', { name: 'Filter the devices' }).getByRole('searchbox');
  for (const [typed, found] of [['desk ', /q=desk$/], ['desk -', /q=desk%20-$/], ['desk-1', /q=desk-1$/]]) {
    await box.fill(typed);
    await page.waitForURL(found);
    await person.settled();
    assert.equal(await box.inputValue(), typed);
  }
  await page.goBack();
  await page.waitForURL(/\/devices$/);
  assert.equal(await box.inputValue(), '');
});

test('a name that was typed for one device is not offered to the next', async () => {
  const { page } = person;
  await person.go(`devices/${devices[0]}`);
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('First');
  await person.go(`devices/${devices[1]}`);
  await page.getByRole('heading', { level: 1, name: 'desk-2' }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Save name' }).count(), 0);
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('menuitem', { name: 'Roll back to 1.0.0' }).waitFor();
  await page.keyboard.press('Escape');
  assert.deepEqual(person.complaints, []);
});

test('the audit log tells who did it', async () => {
  const { page } = person;
  await person.go('audit');
  await page.getByRole('row', { name: /operator@example.org aborted the rollout South/ }).waitFor();
  await page.getByRole('row', { name: /started the rollout North first/ }).waitFor();
  assert.deepEqual(person.complaints, []);
});
