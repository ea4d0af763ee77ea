import { computed, signal } from '@angular/core';
import { ApiError } from './api';
import { Page } from './models';

const PAGE = 50;
const LARGEST = 200; // page that the API gives

/** A list that is read a page at a time. `load` gets the page's cursor, null for the first, and how many rows it may have. */
export class PagedList<T> {
  private turn = 0; // of the newest reload: what older ones bring is dropped
  private changes: ((row: T) => T)[] = []; // made while a page is read, which may be older than they are
  private readonly rows = signal<T[]>([]);
  private readonly cursor = signal<string | null>(null);
  private readonly problem = signal<ApiError | null>(null);
  private readonly busy = signal(false);
  private readonly began = signal(false);

  readonly items = this.rows.asReadonly();
  readonly error = this.problem.asReadonly();
  readonly loading = this.busy.asReadonly();
  readonly hasMore = computed(() => this.cursor() !== null);
  /** Nothing has come yet. */
  readonly fresh = computed(() => !this.began());
  /** No more than one page is there. */
  readonly first = computed(() => this.rows().length <= PAGE);
  readonly empty = computed(() => this.began() && !this.problem() && this.rows().length === 0);

  constructor(private readonly load: (cursor: string | null, limit: number) => Promise<Page<T>>) {}

  /** From the first page on, as many rows as are wanted; what is there stays until the new has come. */
  reload(wanted = this.rows().length): Promise<void> {
    return this.read(null, ++this.turn, wanted);
  }

  /** Forgets what is there, too: for another list than before. */
  restart(): Promise<void> {
    this.rows.set([]);
    this.cursor.set(null);
    this.began.set(false);
    return this.reload();
  }

  more(): Promise<void> {
    return this.busy() || this.cursor() === null ? Promise.resolve() : this.read(this.cursor(), this.turn, PAGE);
  }

  /** Changes rows in place: `change` returns the new row, or the same one. */
  patch(change: (row: T) => T): void {
    if (this.busy()) this.changes.push(change);
    this.rows.update((rows) => {
      const next = rows.map(change);
      return next.some((row, i) => row !== rows[i]) ? next : rows;
    });
  }

  prepend(row: T): void {
    this.rows.update((rows) => [row, ...rows]);
  }

  private async read(from: string | null, turn: number, wanted: number): Promise<void> {
    this.busy.set(true);
    try {
      let items: T[] = [];
      let cursor = from;
      do {
        const page = await this.load(cursor, Math.min(LARGEST, Math.max(PAGE, wanted - items.length)));
        if (turn !== this.turn) return;
        items.push(...page.items);
        cursor = page.next;
      } while (cursor !== null && items.length < wanted);
      items = this.changes.reduce((rows, change) => rows.map(change), items);
      this.rows.update((rows) => (from === null ? items : [...rows, ...items]));
      this.cursor.set(cursor);
      this.problem.set(null);
    } catch (error) {
      if (turn === this.turn) this.problem.set(ApiError.of(error));
    } finally {
      if (turn === this.turn) {
        this.changes = [];
        this.busy.set(false);
        this.began.set(true);
      }
    }
  }
}
