// Accounts in the browser: the first one, staying logged in, several tabs, roles, logging out.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { Account, PASSWORD, System } from './lib/system.mjs';

let system, browser;

before(async () => {
  [system, browser] = await Promise.all([System.start({ OTAD_AUTH_ACCESS_TTL: '4s' }), launch()]);
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

test('conf/up prints the address that shows the console', async () => {
  const address = system.printed.match(/http:\/\/localhost:\d+\/\S*/)[0];
  const answer = await fetch(address);
  assert.equal(answer.status, 200);
  assert.match(await answer.text(), /<otad-root/);
});

test('the first account is asked for, becomes operator, and sees the first steps', async () => {
  const { page, complaints, context } = await Person.arrive(browser, system);
  await page.goto(system.url);
  await page.getByRole('heading', { name: 'Welcome' }).waitFor();
  await page.getByLabel('Email').fill('first@example.org');
  await page.getByLabel('Password').fill('password123');
  await page.getByRole('button', { name: 'Create account' }).click();
  assert.match(await page.getByRole('alert').innerText(), /too easy to guess/);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByRole('heading', { name: 'First steps' }).waitFor();
  await page.getByRole('link', { name: 'Rollouts' }).first().waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test('a wrong password is told, and the page asked for is shown after the right one', async () => {
  const { page, complaints, context } = await Person.arrive(browser, system);
  await page.goto(`${system.url}/ui/devices?online=false`);
  await page.getByLabel('Email').fill('first@example.org');
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Log in' }).click();
  assert.match(await page.getByRole('alert').innerText(), /email address or the password is wrong/);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForURL(/\/ui\/devices\?online=false$/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test('a session outlives its access tokens, the page, and use in two tabs at once', async () => {
  const person = await Person.arrive(browser, system);
  await person.login('first@example.org');
  await person.page.reload();
  await person.page.getByRole('navigation', { name: 'Main' }).waitFor();
  const second = await person.newPage();
  await second.goto(`${system.url}/ui/settings`);
  for (let i = 0; i < 5; i++) {
    await new Promise((done) => setTimeout(done, 2000)); // past the end of a token, each second time
    await Promise.all([person.page, second].map((page) => page.reload()));
    await Promise.all([person.page, second].map((page) => page.getByRole('navigation', { name: 'Main' }).waitFor()));
  }
  const kept = await person.page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie);
  assert.doesNotMatch(kept, /eyJ|[0-9a-f]{8}-[0-9a-f]{4}-/, 'no token where scripts could read it later');

  await person.page.getByRole('button', { name: 'Account and appearance' }).click();
  await person.page.getByRole('menuitem', { name: 'Log out' }).click();
  await Promise.all([person.page, second].map((page) => page.waitForURL(/\/ui\/login/)));
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('a session that the server ended leads to the login, and back', async () => {
  const person = await Person.arrive(browser, system);
  await person.login('first@example.org');
  await person.go('devices');
  await person.page.getByText('Live').waitFor();
  await system.psql(`update sessions set revoked_at = now() where revoked_at is null`);
  await person.page.waitForURL(/\/ui\/login\?to=.*devices/);
  await person.page.getByLabel('Email').fill('first@example.org');
  await person.page.getByLabel('Password').fill(PASSWORD);
  await person.page.getByRole('button', { name: 'Log in' }).click();
  await person.page.getByRole('heading', { level: 1, name: 'Devices' }).waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('who is no operator sees no pages of operators', async () => {
  await Account.create(system, 'user@example.org', 'user');
  const person = await Person.arrive(browser, system);
  await person.login('user@example.org');
  const places = await person.page.getByRole('navigation', { name: 'Main' }).getByRole('link').allInnerTexts();
  assert.deepEqual(places.map((place) => place.trim()), ['Home', 'Devices', 'Firmware', 'Settings']);
  await person.go('audit');
  await person.page.getByRole('heading', { level: 1, name: 'Home' }).waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});

test('a password is changed, and the session goes on with the new one', async () => {
  await Account.create(system, 'forgetful@example.org', 'user');
  const person = await Person.arrive(browser, system);
  await person.login('forgetful@example.org');
  await person.go('settings');
  const { page } = person;
  await page.getByLabel('Current password').fill('not the password');
  await page.getByLabel('New password').fill('another horse battery');
  await page.getByRole('button', { name: 'Change password' }).click();
  assert.match(await page.getByRole('alert').innerText(), /password is wrong/);
  await page.getByLabel('Current password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Change password' }).click();
  await page.getByText('Your password was changed.').waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  assert.deepEqual(person.complaints, []);
  await person.context.close();
});
