import { computed, DestroyRef, effect, inject, Injectable, signal, untracked } from '@angular/core';
import { Api, ApiError } from '../../core/api';
import { Page, Policy, PolicyProblem, Revision } from '../../core/models';
import { repeat } from '../../core/repeat';
import { Toast } from '../../ui/toast';
import { authorName, MINIMAL, short } from './source';

/** Unsaved text as it is kept in sessionStorage, with what it started from. */
export interface Draft {
  text: string;
  base: { revision: string; source: string } | null;
  at: string;
}

const CHECK_AFTER = 300; // ms without typing
const LOOK_EVERY = 10_000; // ms, for what somebody else puts in force

const MOST = 8; // drafts that are kept of a policy

const textKey = (name: string) => `otad-policy:${name}`; // the text that is written
const draftsKey = (name: string) => `otad-policy-drafts:${name}`; // those that nobody has decided on yet

function stored<T>(key: string): T | null {
  try {
    return JSON.parse(sessionStorage.getItem(key) ?? 'null');
  } catch {
    return null;
  }
}

function store(key: string, value: unknown): void {
  if (value === null) sessionStorage.removeItem(key);
  else sessionStorage.setItem(key, JSON.stringify(value));
}

/**
 * The policy of a page: what is in force, the text that somebody writes, and what the server says of it. Text is never
 * lost: unsaved, it is kept in this tab's storage, and what would replace it offers it again.
 */
@Injectable()
export class PolicyDocument {
  private readonly api = inject(Api);
  private readonly toast = inject(Toast);
  private turn = 0; // of the newest load
  private checkTurn = 0;

  readonly name = signal('');
  /** What the text started from; null: nothing, it is a new policy. */
  readonly base = signal<Policy | null>(null);
  readonly text = signal('');
  readonly loading = signal(true);
  readonly error = signal<ApiError | null>(null);
  /** Somebody else put this in force meanwhile. */
  readonly newer = signal<Policy | null>(null);
  private readonly drafts = signal<Draft[]>([]); // newest first
  /** Text of an earlier visit, or that was put aside here. */
  readonly draft = computed<Draft | null>(() => this.drafts()[0] ?? null);
  /** Another revision, looked at in the place of the text. */
  readonly viewed = signal<Revision | null>(null);
  readonly shown = computed(() => this.viewed()?.source ?? this.text());
  readonly checked = signal<{ source: string; problems: PolicyProblem[]; error: ApiError | null } | null>(null);

  readonly inForce = computed(() => this.newer() ?? this.base());
  readonly isNew = computed(() => !this.loading() && !this.error() && !this.base());
  readonly dirty = computed(() => !this.loading() && !this.error() && this.text() !== (this.base()?.source ?? ''));
  readonly checking = computed(() => this.checked()?.source !== this.shown());
  readonly problems = computed(() => this.checked()?.problems ?? []);
  readonly errors = computed(() => this.problems().filter(({ severity }) => severity === 'error').length);

  constructor() {
    let timer: ReturnType<typeof setTimeout> | undefined;
    effect(() => {
      const source = this.shown();
      if (this.loading() || this.error()) return;
      clearTimeout(timer);
      timer = setTimeout(() => this.check(source), CHECK_AFTER);
    });
    effect(() => {
      this.text();
      const dirty = this.dirty();
      if (this.loading() || this.error()) return;
      untracked(() => store(textKey(this.name()), dirty ? this.written() : null));
    });
    const look = () => this.look();
    repeat(look, LOOK_EVERY);
    addEventListener('focus', look);
    inject(DestroyRef).onDestroy(() => {
      clearTimeout(timer);
      removeEventListener('focus', look);
    });
  }

  /** `from`: the policy that a new one starts from, '' for none; undefined: the policy has to be there. */
  async load(name: string, from?: string): Promise<void> {
    const turn = ++this.turn;
    this.loading.set(true);
    this.error.set(null);
    this.checked.set(null);
    this.newer.set(null);
    this.name.set(name);
    try {
      const policy = await this.read(name, from !== undefined);
      const text = policy?.source ?? (from ? (await this.read(from, false))!.source : MINIMAL);
      if (turn !== this.turn) return;
      const left = [stored<Draft>(textKey(name)), ...(stored<Draft[]>(draftsKey(name)) ?? [])];
      this.base.set(policy);
      this.text.set(text);
      this.setDrafts(left.filter((draft): draft is Draft => !!draft && draft.text !== text));
    } catch (error) {
      if (turn === this.turn) this.error.set(ApiError.of(error));
    } finally {
      if (turn === this.turn) this.loading.set(false);
    }
  }

  private async read(name: string, maybe: boolean): Promise<Policy | null> {
    try {
      return await this.api.get<Policy>(`/policies/${encodeURIComponent(name)}`);
    } catch (error) {
      if (maybe && ApiError.of(error).status === 404) return null;
      throw error;
    }
  }

  /** Asks what is in force: shown at once where nothing is unsaved, else told. */
  private async look(): Promise<void> {
    const { turn } = this;
    const policy = await this.read(this.name(), true).catch(() => null);
    if (!policy || turn !== this.turn || this.loading() || this.error()) return;
    const base = this.base();
    if (policy.revision === base?.revision) {
      this.base.set({ ...policy, source: base.source });
      this.newer.set(null);
    } else if (this.dirty()) {
      this.newer.set(policy);
    } else {
      this.adopt(policy);
      this.toast.show(`${authorName(policy.author)} put revision ${short(policy.revision)} in force. It is shown now.`);
    }
  }

  private async check(source: string): Promise<void> {
    const turn = ++this.checkTurn;
    try {
      const { problems } = source
        ? await this.api.post<{ problems: PolicyProblem[] }>('/policies/check', { source })
        : { problems: [{ line: 1, severity: 'error' as const, message: 'a policy returns a table' }] };
      if (turn === this.checkTurn) this.checked.set({ source, problems, error: null });
    } catch (error) {
      if (turn === this.checkTurn) this.checked.set({ source, problems: [], error: ApiError.of(error) });
    }
  }

  checkAgain(): Promise<void> {
    return this.check(this.shown());
  }

  /** The text with what it started from. */
  private written(): Draft {
    const base = this.base();
    return {
      text: this.text(),
      base: base && { revision: base.revision, source: base.source },
      at: new Date().toISOString(),
    };
  }

  private setDrafts(drafts: Draft[]): void {
    const kept = drafts.filter(({ text }, i) => drafts.findIndex((one) => one.text === text) === i).slice(0, MOST);
    this.drafts.set(kept);
    store(draftsKey(this.name()), kept.length ? kept : null);
  }

  /** One of the revisions that there were, by its name or how that begins. */
  async revision(name: string): Promise<Revision> {
    let cursor: string | null = null;
    do {
      const page: Page<Revision> = await this.api.get<Page<Revision>>(
        `/policies/${encodeURIComponent(this.name())}/revisions`,
        {
          limit: 100,
          cursor,
        },
      );
      const found = page.items.find(({ revision }) => revision.startsWith(name));
      if (found) return found;
      cursor = page.next;
    } while (cursor);
    throw new ApiError(404, `This policy has no revision ${short(name)}.`);
  }

  /** Puts the text in force. Fails with 412 where somebody was faster: then `newer` is theirs. */
  async activate(message: string): Promise<Policy> {
    const base = this.base();
    const headers: Record<string, string> = base ? { 'If-Match': `"${base.revision}"` } : { 'If-None-Match': '*' };
    try {
      const body = { source: this.text(), ...(message ? { message } : {}) };
      const policy = await this.api.put<Policy>(`/policies/${encodeURIComponent(this.name())}`, body, headers);
      this.adopt(policy);
      return policy;
    } catch (error) {
      throw await this.refused(error);
    }
  }

  /** Puts what was in force before back. */
  async goBack(): Promise<Policy> {
    const policy = this.inForce()!;
    try {
      const back = await this.api.send<Policy>('POST', `/policies/${encodeURIComponent(this.name())}/rollback`, {
        headers: { 'If-Match': `"${policy.revision}"` },
      });
      if (this.dirty()) this.putAside();
      this.adopt(back);
      return back;
    } catch (error) {
      throw await this.refused(error);
    }
  }

  private async refused(error: unknown): Promise<ApiError> {
    const problem = ApiError.of(error);
    if (problem.status === 412) {
      const theirs = await this.read(this.name(), true).catch(() => null);
      if (theirs && theirs.revision !== this.base()?.revision) this.newer.set(theirs);
    }
    return problem;
  }

  private adopt(policy: Policy): void {
    this.base.set(policy);
    this.text.set(policy.source);
    this.newer.set(null);
  }

  /** Offers the text again once something else has taken its place. */
  private putAside(): void {
    this.setDrafts([this.written(), ...this.drafts()]);
  }

  discard(): void {
    this.putAside();
    const now = this.inForce();
    if (now) this.adopt(now);
    else this.text.set(MINIMAL);
  }

  takeTheirs(theirs: Policy): void {
    this.putAside();
    this.goOnFrom(theirs, theirs.source);
  }

  /** Goes on from theirs, with what has become of both texts. */
  takeMerged(theirs: Policy, text: string): void {
    this.goOnFrom(theirs, text);
  }

  private goOnFrom(theirs: Policy, text: string): void {
    this.base.set(theirs);
    this.text.set(text);
    if (this.newer()?.revision === theirs.revision) this.newer.set(null);
  }

  restoreDraft(): void {
    const draft = this.draft();
    if (!draft) return;
    const now = this.inForce();
    this.dropDraft();
    if (this.dirty()) this.putAside();
    if (draft.base?.revision !== now?.revision) {
      this.base.set(now && draft.base ? { ...now, ...draft.base } : null);
      this.newer.set(now);
    }
    this.text.set(draft.text);
  }

  dropDraft(): void {
    this.setDrafts(this.drafts().slice(1));
  }
}
