import { computed, DestroyRef, effect, inject, Injectable, signal, untracked } from '@angular/core';
import { Api, API } from './api';
import { FeedMessage, FeedNotice } from './models';
import { repeat } from './repeat';
import { Session } from './session';

interface Watcher {
  topics: ReadonlySet<string>;
  handler: (message: FeedMessage) => void;
  reread: () => unknown;
}

/** A try to connect, and what came of it. */
interface Connection {
  socket?: WebSocket;
  asked: ReadonlySet<string>; // topics
  unanswered: Map<number, string[]>; // topics that messages added, by the messages' ids
}

const FIRST_WAIT = 500; // ms before the first new try, then twice as long each time
const LONGEST_WAIT = 15_000;
const ANSWER = 10_000; // ms of silence of a server that owes an answer: the connection is lost
const PROBE = 30_000; // ms
const GATHER = 20; // ms: what one page no longer wants and the next one does is one message
// ms from when something may have been missed: the other instances know by then what this connection listens to, and a
// browser that is too slow for what happens is not asked for more.
const REREAD = 2000;

/**
 * The live feed (GET /ws): one connection for the page, shared by who watches topics. Lost, it is made again. Whoever
 * read something before its topics were in force, or before events were lost, reads it again.
 */
@Injectable({ providedIn: 'root' })
export class Feed {
  private readonly api = inject(Api);
  private readonly session = inject(Session);
  private readonly watchers = new Set<Watcher>();
  private readonly due = new Set<Watcher>(); // to read again
  private connection: Connection | null = null;
  private id = 0; // of the last message
  private wait = FIRST_WAIT;
  private next: ReturnType<typeof setTimeout> | undefined; // try to connect
  private silence: ReturnType<typeof setTimeout> | undefined;
  private gathering: ReturnType<typeof setTimeout> | undefined;
  private rereading: ReturnType<typeof setTimeout> | undefined;

  /** idle: nobody watches anything. live: the server has said that the topics are in force. lost: until it is live again. */
  readonly state = signal<'idle' | 'connecting' | 'live' | 'lost'>('idle');

  constructor() {
    // Scripts do not see the server's pings: a network that went away without a word is noticed by asking.
    repeat(() => this.probe(), PROBE);
    addEventListener('online', () => this.probe());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.probe());
    effect(() => {
      if (!this.session.user()) untracked(() => this.disconnect('idle'));
    });
  }

  /**
   * Calls `handler` with what happens on the topics that `topics` computes, for as long as the component lives; and
   * `reread` when something may have been missed: false from it asks to be called again. In an injection context.
   */
  watch(topics: () => string[], handler: Watcher['handler'], reread: Watcher['reread']): void {
    const watcher: Watcher = { topics: new Set(), handler, reread };
    const wanted = computed(topics, {
      equal: (a, b) => a.length === b.length && a.every((topic, i) => topic === b[i]),
    });
    this.watchers.add(watcher);
    effect(() => {
      watcher.topics = new Set(wanted());
      this.gather();
    });
    inject(DestroyRef).onDestroy(() => {
      this.watchers.delete(watcher);
      this.gather();
    });
  }

  private wanted(): Set<string> {
    return new Set([...this.watchers].flatMap(({ topics }) => [...topics]));
  }

  private gather(): void {
    this.gathering ??= setTimeout(() => {
      this.gathering = undefined;
      this.ask(this.wanted());
    }, GATHER);
  }

  private ask(wanted: Set<string>): void {
    const { connection } = this;
    if (!connection) {
      if (wanted.size) this.connect();
      else this.disconnect('idle'); // nobody waits for a next try
    } else if (connection.socket?.readyState === WebSocket.OPEN) {
      const subscribe = [...wanted].filter((topic) => !connection.asked.has(topic));
      const unsubscribe = [...connection.asked].filter((topic) => !wanted.has(topic));
      connection.asked = wanted;
      if (subscribe.length || unsubscribe.length) this.say(connection, { subscribe, unsubscribe });
    }
  }

  private say(connection: Connection, message: { subscribe?: string[]; unsubscribe?: string[] }): void {
    connection.unanswered.set(++this.id, message.subscribe ?? []);
    connection.socket!.send(JSON.stringify({ ...message, id: this.id }));
    this.expect();
  }

  private expect(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lose(), ANSWER);
  }

  private probe(): void {
    if (this.state() === 'lost') this.connect();
    else if (this.state() === 'live' && !this.connection!.unanswered.size) this.say(this.connection!, {});
  }

  private async connect(): Promise<void> {
    if (this.connection || !this.session.user()) return;
    clearTimeout(this.next);
    const connection: Connection = (this.connection = { asked: new Set(), unanswered: new Map() });
    if (this.state() === 'idle') this.state.set('connecting');
    this.expect();
    try {
      const { ticket } = await this.api.post<{ ticket: string }>('/ws/ticket');
      if (connection === this.connection) this.open(connection, ticket);
    } catch {
      if (connection === this.connection) this.lose();
    }
  }

  private open(connection: Connection, ticket: string): void {
    const url = new URL(`${API}/ws?ticket=${ticket}`, location.origin);
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = (connection.socket = new WebSocket(url));
    this.expect();
    socket.onopen = () => {
      if (connection !== this.connection) return;
      connection.asked = this.wanted();
      this.say(connection, { subscribe: [...connection.asked] });
    };
    socket.onmessage = ({ data }) => {
      if (connection === this.connection) this.receive(connection, JSON.parse(data));
    };
    socket.onclose = () => {
      if (connection === this.connection) this.lose();
    };
  }

  private receive(connection: Connection, message: FeedMessage | FeedNotice): void {
    if (message.event === 'done') this.answered(connection, message.data.id);
    else if (message.event === 'dropped') this.rereadSoon(this.watchers);
    else if (message.event === 'error') {
      // A topic that is refused is of something that is gone: who watches it finds out when it reads again, after `done`.
      if (message.data.topic === null) return this.lose();
    } else {
      for (const { topics, handler } of [...this.watchers]) if (topics.has(message.topic)) handler(message);
    }
    if (connection.unanswered.size) this.expect();
    else clearTimeout(this.silence);
  }

  private answered({ unanswered }: Connection, id: number): void {
    const added = unanswered.get(id) ?? [];
    unanswered.delete(id);
    if (this.state() !== 'live') {
      this.wait = FIRST_WAIT;
      this.state.set('live');
      this.rereadSoon(this.watchers);
    } else this.rereadSoon([...this.watchers].filter(({ topics }) => added.some((topic) => topics.has(topic))));
  }

  private rereadSoon(watchers: Iterable<Watcher>): void {
    for (const watcher of watchers) this.due.add(watcher);
    if (!this.due.size) return;
    this.rereading ??= setTimeout(() => {
      this.rereading = undefined;
      const due = [...this.due].filter((watcher) => this.watchers.has(watcher));
      this.due.clear();
      this.rereadSoon(due.filter(({ reread }) => reread() === false));
    }, REREAD);
  }

  private lose(): void {
    if (!this.session.user() || !this.wanted().size) return this.disconnect('idle');
    this.disconnect('lost');
    this.next = setTimeout(() => this.connect(), this.wait * (0.75 + Math.random() / 2));
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  private disconnect(state: 'idle' | 'lost'): void {
    const socket = this.connection?.socket;
    this.connection = null;
    clearTimeout(this.next);
    clearTimeout(this.silence);
    this.state.set(state);
    socket?.close();
  }
}
