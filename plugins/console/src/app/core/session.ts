import { HttpClient, HttpErrorResponse } from '@angular/common/http';
import { computed, inject, Injectable, Injector, signal } from '@angular/core';
import { firstValueFrom } from 'rxjs';
import { User } from './models';

interface Tokens {
  access_token: string;
  expires_in: number;
  refresh_token?: string;
}

const MARK = 'otad-session'; // in localStorage: a refresh cookie may be there
const EARLY = 30_000; // ms before its end that a token is renewed

/**
 * Who is logged in. The access token is in memory only; the refresh token is a cookie that scripts cannot read, or, where
 * the browser keeps no Secure cookies (plain HTTP on another host than localhost), in memory, until the page is left.
 */
@Injectable({ providedIn: 'root' })
export class Session {
  private readonly injector = inject(Injector);
  private readonly others = new BroadcastChannel('otad-session');
  private access: { token: string; until: number } | null = null;
  private refreshToken: string | null = null;
  private renewing: Promise<string | null> | null = null;

  private readonly account = signal<User | null>(null);
  readonly user = this.account.asReadonly();
  readonly operator = computed(() => this.account()?.role === 'operator');

  constructor() {
    this.others.onmessage = () => this.forget(); // logged out in another tab
  }

  // The interceptor of HttpClient asks for this service: HttpClient is fetched when it is needed.
  private get http(): HttpClient {
    return this.injector.get(HttpClient);
  }

  /** Goes on with the session of an earlier visit, if there is one. */
  async restore(): Promise<void> {
    if (!localStorage.getItem(MARK)) return;
    try {
      if (await this.renew(null)) await this.loadUser();
    } catch {
      /* the server is away: the login page says so when somebody tries */
    }
  }

  async login(email: string, password: string): Promise<void> {
    const cookie = window.isSecureContext;
    this.take(await firstValueFrom(this.http.post<Tokens>('/auth/login', { email, password, cookie })));
    if (cookie) localStorage.setItem(MARK, 'yes');
    await this.loadUser();
  }

  async logout(): Promise<void> {
    try {
      await firstValueFrom(this.http.post('/auth/logout', {}));
    } finally {
      this.others.postMessage('logout');
      this.forget();
    }
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

  private take(tokens: Tokens): string {
    this.access = { token: tokens.access_token, until: Date.now() + tokens.expires_in * 1000 };
    this.refreshToken = tokens.refresh_token ?? null;
    // A role that was given meanwhile comes with the token; one that was taken has ended the session.
    const { role } = JSON.parse(atob(this.access.token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    this.account.update((user) => (user && user.role !== role ? { ...user, role } : user));
    return this.access.token;
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
}
