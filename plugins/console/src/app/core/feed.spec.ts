import { HttpTestingController } from '@angular/common/http/testing';
import { createEnvironmentInjector, EnvironmentInjector, runInInjectionContext, signal } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { connect, logIn, logOut, pass, Socket } from '../../testing/feed';
import { Feed } from './feed';
import { FeedMessage } from './models';
import { Session } from './session';

let http: HttpTestingController;
let feed: Feed;

/** Somebody watches; `leave` ends that. */
function watch(topics: () => string[], reread: () => unknown = () => {}) {
  const heard: FeedMessage[] = [];
  const page = createEnvironmentInjector([], TestBed.inject(EnvironmentInjector));
  runInInjectionContext(page, () => feed.watch(topics, (message) => heard.push(message), reread));
  return { heard, leave: () => page.destroy() };
}

const event = (topic: string, data: unknown = {}) => ({ topic, event: 'status', at: '2026-01-01T00:00:00.000Z', data });

beforeEach(async () => {
  http = await logIn();
  feed = TestBed.inject(Feed);
});

afterEach(logOut);

describe('Feed', () => {
  it('is live once the server has said that the topics are in force', async () => {
    const page = watch(() => ['fleet', 'device:1']);
    expect(feed.state()).toBe('idle');
    await pass(20);
    expect(feed.state()).toBe('connecting');
    const socket = await connect();
    expect(`${socket.url}`).toMatch(/^ws.*\/ws\?ticket=t$/);
    expect(socket.sent).toEqual([{ subscribe: ['fleet', 'device:1'], id: 1 }]);
    expect(feed.state()).toBe('connecting');
    socket.done();
    expect(feed.state()).toBe('live');
    socket.say(event('device:1'));
    socket.say(event('device:2'));
    expect(page.heard.map(({ topic }) => topic)).toEqual(['device:1']);
  });

  it('has read again what was read before that, once', async () => {
    const reread = vi.fn();
    watch(() => ['fleet', 'rollouts'], reread);
    const socket = await connect();
    await pass(5000);
    expect(reread).not.toHaveBeenCalled();
    socket.done();
    await pass(10_000);
    expect(reread).toHaveBeenCalledTimes(1);
  });

  it('says in one message what a page leaves and the next one wants, and nothing of what stays', async () => {
    const first = watch(() => ['fleet', 'rollouts']);
    const socket = await connect();
    socket.done();
    first.leave();
    const reread = vi.fn();
    watch(() => ['fleet'], reread);
    watch(() => Array.from({ length: 150 }, (_, i) => `device:${i}`));
    await pass(3000);
    expect(socket.sent).toHaveLength(2);
    expect(socket.sent[1].unsubscribe).toEqual(['rollouts']);
    expect(socket.sent[1].subscribe).toHaveLength(150);
    socket.done();
    await pass(3000);
    expect(reread).not.toHaveBeenCalled(); // its topic was in force all the time
  });

  it('has read again by those whose topics came to be in force', async () => {
    const topics = signal(['device:1']);
    const [one, other] = [vi.fn(), vi.fn()];
    watch(topics, one);
    watch(() => ['fleet'], other);
    const socket = await connect();
    socket.done();
    await pass(3000);
    topics.set(['device:1']); // the same ones: nothing
    await pass(20);
    expect(socket.sent).toHaveLength(1);
    topics.set(['device:1', 'device:2']);
    await pass(20);
    expect(socket.sent[1]).toEqual({ subscribe: ['device:2'], unsubscribe: [], id: 2 });
    socket.done();
    await pass(3000);
    expect([one.mock.calls.length, other.mock.calls.length]).toEqual([2, 1]);
  });

  it('reads again once in two seconds, however often the server drops events', async () => {
    const reread = vi.fn();
    watch(() => ['fleet'], reread);
    const socket = await connect();
    socket.done();
    await pass(3000);
    reread.mockClear();
    for (let i = 0; i < 60; i++) {
      socket.say({ event: 'dropped', data: { count: 5 } });
      await pass(100);
    }
    await pass(3000);
    expect(reread.mock.calls.length).toBeGreaterThanOrEqual(3);
    expect(reread.mock.calls.length).toBeLessThanOrEqual(4);
  });

  it('asks those again that cannot read just now, unless they have gone', async () => {
    const busy = vi.fn().mockReturnValueOnce(false).mockReturnValue(undefined);
    const gone = vi.fn(() => false);
    watch(() => ['fleet'], busy);
    const page = watch(() => ['rollouts'], gone);
    (await connect()).done();
    await pass(2500);
    page.leave();
    await pass(10_000);
    expect([busy.mock.calls.length, gone.mock.calls.length]).toEqual([2, 1]);
  });

  it('connects anew, less and less often, where the server cannot subscribe', async () => {
    watch(() => ['device:1']);
    for (let i = 0; i < 3; i++) {
      const socket = await connect();
      socket.say({ event: 'error', data: { topic: null, detail: 'try again' } });
      expect(feed.state()).toBe('lost');
      expect(socket.readyState).toBe(2);
      await pass(490 * 2 ** i);
      http.expectNone('/ws/ticket');
      await pass(20 * 2 ** i);
    }
    const socket = await connect();
    expect(feed.state()).toBe('lost'); // all the time
    socket.done();
    expect(feed.state()).toBe('live');
  });

  it('has read again by who watches a topic that is refused', async () => {
    const topics = signal<string[]>(['fleet']);
    const reread = vi.fn();
    watch(topics, reread);
    const socket = await connect();
    socket.done();
    await pass(3000);
    topics.set(['fleet', 'device:9']);
    await pass(20);
    socket.say({ event: 'error', data: { topic: 'device:9', detail: 'there is no such topic' } });
    socket.done();
    await pass(3000);
    expect(feed.state()).toBe('live');
    expect(reread).toHaveBeenCalledTimes(2);
  });

  it('stays lost, and says nothing else, until it is live again', async () => {
    const reread = vi.fn();
    watch(() => ['fleet'], reread);
    (await connect()).done();
    await pass(3000);
    Socket.last.onclose();
    expect(feed.state()).toBe('lost');
    for (let i = 0; i < 4; i++) {
      await pass(10_000);
      http.expectOne('/ws/ticket').flush(null, { status: 503, statusText: 'away' });
      await pass(0);
      expect(feed.state()).toBe('lost');
    }
    await pass(8000);
    const socket = await connect();
    expect(feed.state()).toBe('lost');
    socket.done();
    await pass(3000);
    expect(reread).toHaveBeenCalledTimes(2);
  });

  it('notices that nobody answers any more', async () => {
    watch(() => ['fleet']);
    const socket = await connect();
    socket.done();
    await pass(31_000);
    expect(socket.sent.at(-1)).toEqual({ id: 2 });
    socket.done();
    await pass(15_000);
    expect(feed.state()).toBe('live');
    dispatchEvent(new Event('online'));
    expect(socket.sent.at(-1)).toEqual({ id: 3 });
    await pass(9000);
    socket.say(event('fleet')); // not the answer, but it is there
    await pass(9000);
    expect(feed.state()).toBe('live');
    await pass(1500);
    expect(feed.state()).toBe('lost');
    await pass(1000);
    http.expectOne('/ws/ticket'); // and no answer to this either
    await pass(10_500);
    await pass(2000);
    await connect();
    Socket.last.done();
    expect(feed.state()).toBe('live');
    socket.say(event('fleet')); // the old connection is nobody's any more
    socket.onclose();
    expect(feed.state()).toBe('live');
  });

  it('tries no more where nobody watches, and again once somebody does', async () => {
    const page = watch(() => ['fleet']);
    (await connect()).done();
    Socket.last.onclose();
    page.leave();
    await pass(20);
    expect(feed.state()).toBe('idle');
    await pass(60_000);
    http.expectNone('/ws/ticket');
    watch(() => ['rollouts']);
    (await connect()).done();
    expect(Socket.last.sent[0].subscribe).toEqual(['rollouts']);
    expect(feed.state()).toBe('live');
  });

  it('ends with the session', async () => {
    watch(() => ['fleet']);
    const socket = await connect();
    socket.done();
    const logout = TestBed.inject(Session).logout();
    http.expectOne('/auth/logout').flush(null);
    await logout;
    await pass(60_000);
    expect(feed.state()).toBe('idle');
    expect(socket.readyState).toBe(2);
    http.expectNone('/ws/ticket');
  });
});
