import { computed, signal } from '@angular/core';
import { ApiError } from './api';
import { Page } from './models';

const PAGE = 50; // rows
const LARGEST = 200; // rows that the API answers with at once

/** A list that is read a page at a time. `load` gets the cursor of the page, null for the first, and how many rows. */
export class PagedList<T> {
  private turn = 0; // of the newest reload: what older ones bring is dropped
  private wanted = 0; // rows that were asked for
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

  /**
   * From the first row on, as many as are there and were asked for: the reader keeps their place, and what could not be
   * read is tried again. What is there stays until all of it has come.
   */
  reload(): Promise<void> {
    return this.anew(Math.max(this.wanted, this.rows().length));
  }

  /** As reload(), but the first page alone: what is there has become too much. */
  shorten(): Promise<void> {
    this.wanted = 0;
    return this.anew(0);
  }

  /** Forgets what is there, too: for another list than before. */
  restart(): Promise<void> {
    this.rows.set([]);
    this.cursor.set(null);
    this.began.set(false);
    return this.shorten();
  }

  async more(): Promise<void> {
    const cursor = this.cursor();
    if (this.busy() || cursor === null) return;
    this.wanted = this.rows().length + PAGE;
    await this.during(this.turn, async () => {
      const page = await this.load(cursor, PAGE);
      return { rows: [...this.rows(), ...page.items], cursor: page.next };
    });
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

  private anew(wanted: number): Promise<void> {
    const turn = ++this.turn;
    return this.during(turn, async () => {
      const rows: T[] = [];
      let cursor: string | null = null;
      do {
        const limit = Math.min(LARGEST, Math.max(PAGE, wanted - rows.length));
        const page: Page<T> = await this.load(cursor, limit);
        rows.push(...page.items);
        cursor = page.next;
      } while (turn === this.turn && cursor !== null && rows.length < wanted);
      return { rows, cursor };
    });
  }

  private async during(turn: number, read: () => Promise<{ rows: T[]; cursor: string | null }>): Promise<void> {
    this.busy.set(true);
    try {
      const { rows, cursor } = await read();
      if (turn !== this.turn) return;
      this.rows.set(this.changes.reduce((changed, change) => changed.map(change), rows));
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
