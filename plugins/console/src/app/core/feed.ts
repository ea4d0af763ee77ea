import { DestroyRef, effect, inject, Injectable, signal, untracked } from '@angular/core';
import { Api, API } from './api';
import { FeedMessage } from './models';
import { Session } from './session';

type Handler = (message: FeedMessage) => void;

const FIRST_WAIT = 500; // ms before the first new try, then twice as long each time
const LONGEST_WAIT = 15_000;

/**
 * The live feed (GET /ws): one connection for the page, shared by who watches topics. Lost, it is made again; what
 * happened meanwhile is not repeated, so watchers read anew when `gap` moves.
 */
@Injectable({ providedIn: 'root' })
export class Feed {
  private readonly api = inject(Api);
  private readonly session = inject(Session);
  private readonly handlers = new Map<string, Set<Handler>>();
  private socket: WebSocket | null = null;
  private wait = FIRST_WAIT;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** idle: nobody watches anything. */
  readonly state = signal<'idle' | 'connecting' | 'live' | 'lost'>('idle');
  /** Grows whenever events may have been missed: after a lost connection, and when the server dropped some. */
  readonly gap = signal(0);

  constructor() {
    addEventListener('online', () => this.retryNow());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.retryNow());
    effect(() => {
      if (!this.session.user()) untracked(() => this.close());
    });
  }

  /**
   * Calls `handler` with what happens on the topics that `topics` computes, for as long as the component lives; and
   * `reread` when something may have been missed. In an injection context.
   */
  watch(topics: () => string[], handler: Handler, reread?: () => void): void {
    let current: string[] = [];
    effect(() => {
      const wanted = topics();
      untracked(() => {
        current.filter((topic) => !wanted.includes(topic)).forEach((topic) => this.drop(topic, handler));
        wanted.filter((topic) => !current.includes(topic)).forEach((topic) => this.add(topic, handler));
        current = wanted;
      });
    });
    if (reread) {
      let seen = this.gap();
      effect(() => {
        const gap = this.gap();
        if (gap !== seen) untracked(reread);
        seen = gap;
      });
    }
    inject(DestroyRef).onDestroy(() => current.forEach((topic) => this.drop(topic, handler)));
  }

  private add(topic: string, handler: Handler): void {
    const handlers = this.handlers.get(topic);
    if (handlers) {
      handlers.add(handler);
      return;
    }
    this.handlers.set(topic, new Set([handler]));
    if (this.socket) this.say({ subscribe: [topic] });
    else this.connect();
  }

  private drop(topic: string, handler: Handler): void {
    const handlers = this.handlers.get(topic);
    handlers?.delete(handler);
    if (handlers?.size === 0) {
      this.handlers.delete(topic);
      this.say({ unsubscribe: [topic] });
    }
  }

  private say(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private async connect(): Promise<void> {
    clearTimeout(this.timer);
    if (this.state() === 'connecting' || this.socket || !this.handlers.size) return;
    const again = this.state() === 'lost';
    this.state.set('connecting');
    try {
      const { ticket } = await this.api.post<{ ticket: string }>('/ws/ticket');
      if (this.state() !== 'connecting') return; // logged out meanwhile
      const url = new URL(`${API}/ws?ticket=${ticket}`, location.origin);
      url.protocol = url.protocol.replace('http', 'ws');
      this.open(new WebSocket(url), again);
    } catch {
      this.lose();
    }
  }

  private open(socket: WebSocket, again: boolean): void {
    this.socket = socket;
    socket.onopen = () => {
      this.wait = FIRST_WAIT;
      this.state.set('live');
      this.say({ subscribe: [...this.handlers.keys()] });
      if (again) this.gap.update((n) => n + 1);
    };
    socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    socket.onclose = () => {
      if (this.socket === socket) this.lose();
    };
  }

  private receive(message: FeedMessage): void {
    if (message.event === 'dropped') this.gap.update((n) => n + 1);
    for (const handler of [...(this.handlers.get(message.topic) ?? [])]) handler(message);
  }

  private lose(): void {
    this.socket = null;
    if (!this.session.user() || !this.handlers.size) {
      this.state.set('idle');
      return;
    }
    this.state.set('lost');
    this.timer = setTimeout(() => this.connect(), this.wait * (0.75 + Math.random() / 2));
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  private retryNow(): void {
    if (this.state() === 'lost') this.connect();
  }

  private close(): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    this.state.set('idle');
    socket?.close();
  }
}
