// A page on the live feed for units: real but for the browser's WebSocket, the network and the clock.
import { provideHttpClient } from '@angular/common/http';
import { HttpTestingController, provideHttpClientTesting } from '@angular/common/http/testing';
import { TestBed } from '@angular/core/testing';
import { vi } from 'vitest';
import { Session } from '../app/core/session';

/** The browser's part: what is sent and said over it is up to the test. */
export class Socket {
  static readonly OPEN = 1;
  static all: Socket[] = [];
  static get last(): Socket {
    return Socket.all.at(-1)!;
  }

  readyState = 0;
  sent: { id: number; subscribe?: string[]; unsubscribe?: string[] }[] = [];
  onopen = () => {};
  onclose = () => {};
  onmessage: (event: { data: string }) => void = () => {};

  constructor(readonly url: URL) {
    Socket.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 2; // and no more is heard of it: what it was connected to is away
  }

  open(): void {
    this.readyState = 1;
    this.onopen();
  }

  say(message: object): void {
    this.onmessage({ data: JSON.stringify(message) });
  }

  /** Answers the last message. */
  done(): void {
    this.say({ event: 'done', data: { id: this.sent.at(-1)!.id } });
  }
}

/** Time goes by, and what promises and effects do in it is done. */
export async function pass(ms: number): Promise<void> {
  TestBed.tick();
  await vi.advanceTimersByTimeAsync(ms);
  TestBed.tick();
}

/** Answers the wish for a ticket, and opens the connection made with it. */
export async function connect(): Promise<Socket> {
  await pass(20);
  TestBed.inject(HttpTestingController).expectOne('/ws/ticket').flush({ ticket: 't' });
  await pass(0);
  Socket.last.open();
  return Socket.last;
}

/** For beforeEach: somebody is logged in. */
export async function logIn(): Promise<HttpTestingController> {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', Socket);
  vi.spyOn(Math, 'random').mockReturnValue(0.5); // waits are as long as they are on average
  Socket.all = [];
  TestBed.configureTestingModule({ providers: [provideHttpClient(), provideHttpClientTesting()] });
  const http = TestBed.inject(HttpTestingController);
  const login = TestBed.inject(Session).login('a@example.org', 'secret');
  const access_token = `.${btoa(JSON.stringify({ role: 'operator' }))}.`;
  http.expectOne('/auth/login').flush({ access_token, expires_in: 900 });
  await vi.advanceTimersByTimeAsync(0);
  http.expectOne('/auth/me').flush({ user: { id: 1, email: 'a@example.org', role: 'operator' } });
  await login;
  return http;
}

/** For afterEach. */
export function logOut(): void {
  TestBed.resetTestingModule();
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
}
