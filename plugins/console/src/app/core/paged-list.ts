import { computed, signal } from '@angular/core';
import { ApiError } from './api';
import { Page } from './models';

/** A list that is read a page at a time. `load` gets the cursor of the page: null for the first. */
export class PagedList<T> {
  private turn = 0; // of the newest reload: what older ones bring is dropped
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
  readonly empty = computed(() => this.began() && !this.problem() && this.rows().length === 0);

  constructor(private readonly load: (cursor: string | null) => Promise<Page<T>>) {}

  /** From the first page on; what is there stays until the new has come. */
  reload(): Promise<void> {
    return this.read(null, ++this.turn);
  }

  /** Forgets what is there, too: for another list than before. */
  restart(): Promise<void> {
    this.rows.set([]);
    this.cursor.set(null);
    this.began.set(false);
    return this.reload();
  }

  more(): Promise<void> {
    return this.busy() || this.cursor() === null ? Promise.resolve() : this.read(this.cursor(), this.turn);
  }

  /** Changes rows in place: `change` returns the new row, or the same one. */
  patch(change: (row: T) => T): void {
    this.rows.update((rows) => {
      const next = rows.map(change);
      return next.some((row, i) => row !== rows[i]) ? next : rows;
    });
  }

  prepend(row: T): void {
    this.rows.update((rows) => [row, ...rows]);
  }

  private async read(cursor: string | null, turn: number): Promise<void> {
    this.busy.set(true);
    try {
      const page = await this.load(cursor);
      if (turn !== this.turn) return;
      this.rows.update((rows) => (cursor === null ? page.items : [...rows, ...page.items]));
      this.cursor.set(page.next);
      this.problem.set(null);
    } catch (error) {
      if (turn === this.turn) this.problem.set(ApiError.of(error));
    } finally {
      if (turn === this.turn) {
        this.busy.set(false);
        this.began.set(true);
      }
    }
  }
}
