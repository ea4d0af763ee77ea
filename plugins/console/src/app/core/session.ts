import { HttpClient, HttpErrorResponse } from '@angular/common/http';
import { computed, inject, Injectable, Injector, signal } from '@angular/core';
import { firstValueFrom } from 'rxjs';
import { ApiError } from './api';
import { User } from './models';

interface Tokens {
  access_token: string;
  expires_in: number;
  refresh_token?: string;
}

const MARK = 'otad-session'; // in localStorage: a refresh cookie may be there
const EARLY = 30_000; // ms before its end that a token is renewed
const AGAIN = 5_000; // ms between tries to go on with a session, where the server does not tell

/**
 * Who is logged in. The access token is in memory only; the refresh token is a cookie that scripts cannot read, or, where
 * the browser keeps no Secure cookies (plain HTTP on another host than localhost), in memory, until the page is left.
 */
@Injectable({ providedIn: 'root' })
export class Session {
  private readonly injector = inject(Injector);
  private readonly others = new BroadcastChannel('otad-session'); // the id of who logged in, or null
  private access: { token: string; until: number } | null = null;
  private refreshToken: string | null = null;
  private renewing: Promise<string | null> | null = null;

  private readonly account = signal<User | null>(null);
  readonly user = this.account.asReadonly();
  readonly operator = computed(() => this.account()?.role === 'operator');
  /** Why the session of an earlier visit does not go on yet. */
  readonly away = signal<ApiError | null>(null);
  /** Somebody else logged in in another tab, and has the cookie of all of them. */
  readonly replaced = signal(false);
  private wake = () => {};

  constructor() {
    this.others.onmessage = ({ data }: MessageEvent<number | null>) => {
      if (data === null) this.forget();
      else if (this.account() && data !== this.account()!.id) this.giveWay();
    };
  }

  // The interceptor of HttpClient asks for this service: HttpClient is fetched when it is needed.
  private get http(): HttpClient {
    return this.injector.get(HttpClient);
  }

  /** Goes on with the session of an earlier visit, if there is one: once the server is there. */
  async restore(): Promise<void> {
    while (localStorage.getItem(MARK)) {
      try {
        if (await this.renew(null)) await this.loadUser();
        break;
      } catch (error) {
        const problem = ApiError.of(error);
        if (problem.status && problem.status !== 429 && problem.status < 500) break;
        this.away.set(problem);
        await new Promise<void>((done) => {
          this.wake = done;
          setTimeout(done, problem.retryAfter ? problem.retryAfter * 1000 : AGAIN);
        });
      }
    }
    this.away.set(null);
  }

  /** Does not wait for the next try to go on. */
  tryNow(): void {
    this.wake();
  }

  async login(email: string, password: string): Promise<void> {
    const cookie = window.isSecureContext;
    this.take(await firstValueFrom(this.http.post<Tokens>('/auth/login', { email, password, cookie })));
    if (cookie) localStorage.setItem(MARK, 'yes');
    await this.loadUser();
    this.replaced.set(false);
    if (cookie) this.others.postMessage(this.account()!.id);
  }

  /** Fails where the server was not told: the session may live on, and so does it here. */
  async logout(): Promise<void> {
    try {
      await firstValueFrom(this.http.post('/auth/logout', {}));
    } catch (error) {
      if (ApiError.of(error).status !== 401) throw error; // 401: it has ended already
    }
    this.others.postMessage(null);
    this.forget();
  }

  /** A token that is good for some time yet; null: nobody is logged in. */
  async token(): Promise<string | null> {
    if (!this.access) return this.renewing;
    return Date.now() < this.access.until - EARLY ? this.access.token : this.renew(this.access.token);
  }

  /**
   * A new token in the place of `old`. A refresh token is good once, and the cookie is the same in all tabs: they take
   * turns, or one of them would end the session.
   */
  renew(old: string | null): Promise<string | null> {
    if (this.access && this.access.token !== old) return Promise.resolve(this.access.token);
    const turn = async (task: () => Promise<string | null>): Promise<string | null> =>
      navigator.locks ? navigator.locks.request('otad-refresh', task) : task();
    this.renewing ??= turn(() => this.refresh()).finally(() => (this.renewing = null));
    return this.renewing;
  }

  private async refresh(): Promise<string | null> {
    try {
      const body = this.refreshToken ? { refresh_token: this.refreshToken } : null;
      return this.take(await firstValueFrom(this.http.post<Tokens>('/auth/refresh', body)));
    } catch (error) {
      if (!(error instanceof HttpErrorResponse) || error.status !== 401) throw error;
      this.forget();
      return null;
    }
  }

  private take({ access_token: token, expires_in, refresh_token }: Tokens): string | null {
    const { sub, role } = JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    const user = this.account();
    if (user && Number(sub) !== user.id) {
      this.giveWay();
      return null;
    }
    this.access = { token, until: Date.now() + expires_in * 1000 };
    this.refreshToken = refresh_token ?? null;
    // A role that was given meanwhile comes with the token; one that was taken has ended the session.
    if (user && user.role !== role) this.account.set({ ...user, role });
    return token;
  }

  private async loadUser(): Promise<void> {
    this.account.set((await firstValueFrom(this.http.get<{ user: User }>('/auth/me'))).user);
  }

  private forget(): void {
    this.access = null;
    this.refreshToken = null;
    this.account.set(null);
    localStorage.removeItem(MARK);
  }

  /** The cookie is of somebody else's session now, which goes on: only this tab's is over. */
  private giveWay(): void {
    this.replaced.set(true);
    this.access = null;
    this.account.set(null);
  }
}
