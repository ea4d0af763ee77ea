// Debian's chromium, driven by playwright-core. What a page says on its console is part of a test: errors, and what the
// Content-Security-Policy forbade, fail it.
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { PASSWORD } from './system.mjs';

const ARGUMENTS = [
  '--no-sandbox', // as root in a container
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const axe = readFileSync(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

export const LOOKS = {
  light: { colorScheme: 'light', viewport: { width: 1360, height: 860 } },
  dark: { colorScheme: 'dark', viewport: { width: 1360, height: 860 } },
  phone: { colorScheme: 'light', viewport: { width: 390, height: 844 }, hasTouch: true },
  'phone at night': { colorScheme: 'dark', viewport: { width: 390, height: 844 }, hasTouch: true },
};

export function launch() {
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGUMENTS });
}

/** In the page: a quarter of a second without a change, but no longer than three seconds. */
function stillness() {
  return new Promise((done) => {
    let timer;
    const end = () => {
      observer.disconnect();
      done();
    };
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(end, 250);
    };
    setTimeout(end, 3000);
    const observer = new MutationObserver(wait);
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    wait();
  });
}

/** A person with a browser of their own: `page`, and `complaints`, what it had to say. */
export class Person {
  static async arrive(browser, system, look = 'light', options = {}) {
    const person = new Person();
    person.system = system;
    person.complaints = [];
    person.context = await browser.newContext({ ...LOOKS[look], timezoneId: 'Europe/Berlin', locale: 'en-GB', ...options });
    person.page = await person.newPage();
    return person;
  }

  async newPage() {
    const page = await this.context.newPage();
    page.setDefaultTimeout(30_000);
    page.on('pageerror', (error) => this.complaints.push(`error: ${error.message}`));
    page.on('console', (message) => {
      // That an answer was 4xx or 5xx, or the server away, is the business of the test.
      if (message.type() === 'error' && !/^Failed to load resource|WebSocket connection to/.test(message.text())) {
        this.complaints.push(`console: ${message.text()}`);
      }
    });
    return page;
  }

  async login(email) {
    await this.page.goto(`${this.system.url}/ui/login`);
    await this.page.getByLabel('Email').fill(email);
    await this.page.getByLabel('Password').fill(PASSWORD);
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.page.locator('#navigation').waitFor({ state: 'attached' }); // hidden on a phone
  }

  /** To a page of the console without loading it anew. */
  async go(path) {
    await this.page.evaluate((to) => {
      history.pushState({}, '', to);
      dispatchEvent(new PopStateEvent('popstate'));
    }, `/ui/${path}`);
    await this.settled();
  }

  /** The page is there, nothing that can be seen is loading, and nothing has changed for a while. */
  async settled() {
    const there = () =>
      document.querySelector('h1') &&
      [...document.querySelectorAll('otad-loading')].every((one) => one.getBoundingClientRect().top > innerHeight);
    await this.page.evaluate(stillness);
    await this.page.waitForFunction(there);
    await this.page.evaluate(stillness);
    await this.page.waitForFunction(there);
  }

  /** What axe finds against WCAG 2.2 AA, in words; [] for nothing. without: rules that are not asked. */
  async axe(...without) {
    if (!(await this.page.evaluate(() => 'axe' in globalThis))) await this.page.evaluate(axe);
    const { violations } = await this.page.evaluate(
      (rules) => globalThis.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], rules }),
      Object.fromEntries(without.map((rule) => [rule, { enabled: false }])),
    );
    return violations.flatMap(({ id, nodes }) =>
      nodes.slice(0, 4).map(({ target, failureSummary }) => `${id} at ${target.join(' ')}: ${failureSummary}`),
    );
  }
}
