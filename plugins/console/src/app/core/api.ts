import {
  HttpClient,
  HttpErrorResponse,
  HttpHeaders,
  httpResource,
  HttpResourceRef,
  HttpInterceptorFn,
  HttpParams,
  HttpResponse,
} from '@angular/common/http';
import { DestroyRef, inject, Injectable, untracked } from '@angular/core';
import { catchError, firstValueFrom, from, fromEvent, NEVER, switchMap, takeUntil, throwError } from 'rxjs';
import { Page } from './models';
import { Session } from './session';

/** Where the API is: the console's own origin, unless the build named another (tools/finish.mjs). */
export const API = document.querySelector<HTMLMetaElement>('meta[name="otad-api"]')?.content.replace(/\/$/, '') ?? '';

/** These are asked without a token. */
const OPEN = ['/auth/login', '/auth/register', '/auth/refresh', '/auth/first', '/readyz', '/healthz'];

export type Query = Record<string, string | number | boolean | null | undefined>;

interface Options {
  body?: unknown;
  query?: Query;
  headers?: Record<string, string>;
  /** Aborted: nobody waits for the answer any more, and the server, told so, computes no further. */
  signal?: AbortSignal;
}

/** Reads resources again. False: one is being read for the first time, which is not begun anew, and is to be asked for again. */
export function reload(...resources: Pick<HttpResourceRef<unknown>, 'status' | 'reload'>[]): boolean {
  const busy = untracked(() => resources.some(({ status }) => status() === 'loading'));
  resources.forEach((resource) => resource.reload());
  return !busy;
}

/** For what takes long: aborted when the component goes. In an injection context. */
export function whileHere(): AbortSignal {
  const here = new AbortController();
  inject(DestroyRef).onDestroy(() => here.abort());
  return here.signal;
}

/** An answer other than 2xx: the problem of RFC 9457 in it, or that there was none (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly errors: { field: string; message: string }[] = [],
    readonly body: Record<string, unknown> = {},
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }

  static of(error: unknown): ApiError {
    if (error instanceof ApiError) return error;
    if (!(error instanceof HttpErrorResponse))
      return new ApiError(0, error instanceof Error ? error.message : `${error}`);
    if (error.status === 0) return new ApiError(0, 'The server cannot be reached.');
    let body = error.error;
    if (typeof body === 'string') {
      try {
        body = JSON.parse(body);
      } catch {
        body = {};
      }
    }
    const wait = Number(error.headers.get('retry-after')) || null;
    return new ApiError(
      error.status,
      body?.detail ?? body?.title ?? error.statusText,
      body?.errors ?? [],
      body ?? {},
      wait,
    );
  }

  /** The message for a person, with what is wrong with each field. */
  get text(): string {
    const fields = this.errors.map(({ field, message }) => (field ? `${field} ${message}` : message));
    return fields.length ? `${this.message} ${fields.join('; ')}.` : this.message;
  }
}

/** Sends to the API, with the access token; one that has just expired is renewed and the request sent again, once. */
export const apiInterceptor: HttpInterceptorFn = (request, next) => {
  if (!request.url.startsWith('/')) return next(request);
  const session = inject(Session);
  const path = request.url.split('?')[0];
  const send = (token: string | null) =>
    next(
      request.clone({
        url: API + request.url,
        withCredentials: path.startsWith('/auth/'),
        setHeaders: token ? { Authorization: `Bearer ${token}` } : {},
      }),
    );
  if (OPEN.includes(path)) return send(null);
  return from(session.token()).pipe(
    switchMap((token) =>
      send(token).pipe(
        catchError((error) =>
          error.status === 401 && token
            ? from(session.renew(token)).pipe(switchMap((fresh) => (fresh ? send(fresh) : throwError(() => error))))
            : throwError(() => error),
        ),
      ),
    ),
  );
};

function params(query: Query): HttpParams {
  let all = new HttpParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') all = all.set(name, value);
  }
  return all;
}

@Injectable({ providedIn: 'root' })
export class Api {
  private readonly http = inject(HttpClient);

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.send<T>('GET', path, { query });
  }

  list<T>(path: string, query: Query = {}): Promise<Page<T>> {
    return this.get<Page<T>>(path, query);
  }

  post<T>(path: string, body: unknown = {}, query: Query = {}): Promise<T> {
    return this.send<T>('POST', path, { body, query });
  }

  patch<T>(path: string, body: unknown): Promise<T> {
    return this.send<T>('PATCH', path, { body });
  }

  put<T>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
    return this.send<T>('PUT', path, { body, headers });
  }

  delete(path: string): Promise<void> {
    return this.send<void>('DELETE', path);
  }

  async send<T>(method: string, path: string, options: Options = {}): Promise<T> {
    return (await this.answer<T>(method, path, options)).body as T;
  }

  /** The whole answer: for who needs its headers. Fails with an ApiError. */
  async answer<T>(method: string, path: string, options: Options = {}): Promise<HttpResponse<T>> {
    const answer = this.http.request<T>(method, path, {
      body: options.body,
      params: params(options.query ?? {}),
      headers: new HttpHeaders(options.headers ?? {}),
      observe: 'response',
    });
    try {
      return await firstValueFrom(answer.pipe(takeUntil(options.signal ? fromEvent(options.signal, 'abort') : NEVER)));
    } catch (error) {
      throw ApiError.of(error);
    }
  }

  /**
   * What stands at a path, fetched again whenever the path that `path` computes changes; undefined: nothing yet.
   * In an injection context.
   */
  resource<T>(path: () => string | undefined): HttpResourceRef<T | undefined> {
    return httpResource<T>(path);
  }
}
