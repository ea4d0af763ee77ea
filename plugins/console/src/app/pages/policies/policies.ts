import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatDialog } from '@angular/material/dialog';
import { Router, RouterLink } from '@angular/router';
import { mdiFileCodeOutline, mdiPlus } from '@mdi/js';
import { Api } from '../../core/api';
import { Feed } from '../../core/feed';
import { counted } from '../../core/format';
import { Policy, Rollout } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Icon } from '../../ui/icon';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { StateBadge } from '../../ui/state-badge';
import { Time } from '../../ui/time';
import { NewPolicy } from './new-policy';
import { authorName, description, problemWords, short } from './source';
import { StageBars } from './stage-bars';

/** All policies: what each does, whether it is well, who uses it. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Empty, Icon, Loading, MatButtonModule, More, PageHeader, RouterLink, StageBars, StateBadge, Time],
  templateUrl: './policies.html',
  styleUrl: './policies.scss',
})
export class PoliciesPage {
  private readonly api = inject(Api);
  private readonly dialog = inject(MatDialog);
  private readonly router = inject(Router);
  private readonly running = signal<Record<string, number>>({}); // where the list does not say

  protected readonly icons = { mdiFileCodeOutline, mdiPlus };
  protected readonly short = short;
  protected readonly authorName = authorName;
  protected readonly problemWords = problemWords;
  protected readonly counted = counted;
  protected readonly list = new PagedList<Policy>((cursor) => this.read(cursor));
  protected readonly rows = computed(() =>
    this.list.items().map((policy) => ({
      ...policy,
      description: description(policy.source),
      worst: policy.problems.some(({ severity }) => severity === 'error') ? 'error' : 'warning',
      rollouts: policy.rollouts ?? this.running()[policy.name] ?? 0,
    })),
  );

  constructor() {
    this.list.reload();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        this.list.reload();
      }, 2000);
    };
    inject(Feed).watch(() => ['rollouts'], soon, soon);
  }

  private async read(cursor: string | null) {
    const page = await this.api.list<Policy>('/policies', { limit: 100, cursor });
    if (page.items.some(({ rollouts }) => rollouts === undefined)) {
      const { items } = await this.api.list<Rollout>('/rollouts', { state: 'running', limit: 200 });
      const counts: Record<string, number> = {};
      for (const { policy } of items) counts[policy] = (counts[policy] ?? 0) + 1;
      this.running.set(counts);
    }
    return page;
  }

  protected add(): void {
    const names = this.list.items().map(({ name }) => name);
    this.dialog
      .open<NewPolicy, string[], { name: string; from: string }>(NewPolicy, { data: names, width: '480px' })
      .afterClosed()
      .subscribe(
        (made) => made && this.router.navigate(['/policies', made.name], { queryParams: { from: made.from } }),
      );
  }
}
