import { ChangeDetectionStrategy, Component, computed, effect, inject, input, output, untracked } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { RouterLink } from '@angular/router';
import { mdiHistory } from '@mdi/js';
import { Api } from '../../../core/api';
import { Revision } from '../../../core/models';
import { PagedList } from '../../../core/paged-list';
import { Icon } from '../../../ui/icon';
import { More } from '../../../ui/more';
import { Loading } from '../../../ui/notice';
import { Time } from '../../../ui/time';
import { PolicyDocument } from '../document';
import { authorName, short } from '../source';

/** What was in force, newest first; each can be compared with the text in the editor. */
@Component({
  selector: 'otad-revisions',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, Loading, MatButtonModule, More, RouterLink, Time],
  templateUrl: './revisions.html',
  styleUrls: ['./panel.scss', './revisions.scss'],
})
export class Revisions {
  private readonly api = inject(Api);
  protected readonly policy = inject(PolicyDocument);
  /** The one that is compared. */
  readonly compared = input<string>();
  readonly back = output();

  protected readonly icon = mdiHistory;
  protected readonly short = short;
  protected readonly authorName = authorName;
  protected readonly list = new PagedList<Revision>((cursor) =>
    this.api.get(`/policies/${encodeURIComponent(this.policy.name())}/revisions`, { limit: 50, cursor }),
  );

  constructor() {
    const inForce = computed(() => this.policy.inForce()?.revision);
    effect(() => {
      inForce(); // another one came into force
      untracked(() => this.list.reload());
    });
  }
}
