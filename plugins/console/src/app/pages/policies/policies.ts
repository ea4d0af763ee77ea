import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatDialog } from '@angular/material/dialog';
import { Router, RouterLink } from '@angular/router';
import { mdiFileCodeOutline, mdiPlus } from '@mdi/js';
import { Api } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { Feed } from '../../core/feed';
import { counted } from '../../core/format';
import { PolicyRow } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Icon } from '../../ui/icon';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { StateBadge } from '../../ui/state-badge';
import { Time } from '../../ui/time';
import { NewPolicy } from './new-policy';
import { byAuthor, problemWords, short } from './source';
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

  protected readonly icons = { mdiFileCodeOutline, mdiPlus };
  protected readonly short = short;
  protected readonly byAuthor = byAuthor;
  protected readonly problemWords = problemWords;
  protected readonly counted = counted;
  protected readonly list = new PagedList<PolicyRow>((cursor) =>
    this.api.get('/policies', { source: false, limit: 100, cursor }),
  );
  protected readonly rows = computed(() =>
    this.list.items().map((policy) => ({
      ...policy,
      worst: policy.problems.some(({ severity }) => severity === 'error') ? 'error' : 'warning',
    })),
  );

  constructor() {
    this.list.reload();
    const again = coalesce(() => this.list.reload(), 2000);
    inject(Feed).watch(() => ['rollouts'], again, again);
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
