import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal, untracked } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatSelectModule } from '@angular/material/select';
import { Router, RouterLink } from '@angular/router';
import { mdiClipboardTextClockOutline } from '@mdi/js';
import { Api } from '../../core/api';
import { fullTime, zone } from '../../core/format';
import { AuditEntry, Page, User } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { repeat } from '../../core/repeat';
import { Frame } from '../../ui/frame';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { Time } from '../../ui/time';
import { ACTIONS, changesOf, KINDS, linkOf } from './entry';

const AGAIN = 15_000; // ms

/** Who did what, when and from where, and what it was before and after. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Empty,
    Frame,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatSelectModule,
    More,
    PageHeader,
    RouterLink,
    Time,
  ],
  templateUrl: './audit.html',
  styleUrl: './audit.scss',
})
export class AuditPage {
  private readonly api = inject(Api);
  private readonly router = inject(Router);

  readonly user_id = input<string>();
  readonly action = input<string>();
  readonly kind = input<string>();
  readonly id = input<string>();
  readonly from = input<string>();
  readonly to = input<string>();

  private readonly filter = computed(
    () => ({
      user_id: this.user_id(),
      action: this.action(),
      kind: this.kind(),
      id: this.id(),
      from: instant(this.from()),
      to: instant(this.to()),
    }),
    { equal: (a, b) => JSON.stringify(a) === JSON.stringify(b) },
  );
  protected readonly filtered = computed(() => Object.values(this.filter()).some(Boolean));
  protected readonly entries = new PagedList<AuditEntry>((cursor, limit) =>
    this.api.list<AuditEntry>('/audit', { ...this.filter(), limit, cursor }),
  );
  protected readonly users = this.api.resource<Page<User>>(() => '/users?limit=200');
  protected readonly open = signal<number | null>(null);

  protected readonly kinds = KINDS;
  protected readonly actions = Object.entries(ACTIONS);
  protected readonly zone = zone();
  protected readonly icon = mdiClipboardTextClockOutline;
  protected readonly changesOf = changesOf;
  protected readonly linkOf = linkOf;
  protected readonly fullTime = fullTime;
  protected readonly words = (action: string) => ACTIONS[action] ?? action;

  constructor() {
    effect(() => {
      this.filter();
      untracked(() => this.entries.restart());
    });
    // The live feed does not tell of this.
    repeat(() => this.entries.first() && !this.entries.loading() && this.entries.reload(), AGAIN);
  }

  protected set(change: Record<string, string | undefined>): void {
    this.router.navigate([], { queryParams: change, queryParamsHandling: 'merge' });
  }

  protected clear(): void {
    this.router.navigate([], { queryParams: {} });
  }

  protected toggle(entry: AuditEntry): void {
    this.open.update((id) => (id === entry.id ? null : entry.id));
  }
}

/** The local time of an <input type="datetime-local"> as the API wants it. */
function instant(local: string | undefined): string | undefined {
  const at = local ? new Date(local) : undefined;
  return at && !Number.isNaN(at.getTime()) ? at.toISOString() : undefined;
}
