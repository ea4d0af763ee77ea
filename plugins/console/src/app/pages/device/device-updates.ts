import { ChangeDetectionStrategy, Component, effect, inject, input, untracked } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Api } from '../../core/api';
import { Feed } from '../../core/feed';
import { duration, now } from '../../core/format';
import { Update } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Session } from '../../core/session';
import { Frame } from '../../ui/frame';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { StateBadge } from '../../ui/state-badge';
import { isUnderWay } from '../../ui/states';
import { Time } from '../../ui/time';

/** All updates the device ever had, newest first. */
@Component({
  selector: 'otad-device-updates',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Empty, Frame, Loading, More, RouterLink, StateBadge, Time],
  templateUrl: './device-updates.html',
  styles: `
    .from {
      margin-left: 4px;
    }
    .reason {
      min-width: 220px;
      overflow-wrap: anywhere;
    }
  `,
})
export class DeviceUpdates {
  private readonly api = inject(Api);
  protected readonly session = inject(Session);
  readonly device = input.required<number>();
  protected readonly list = new PagedList<Update>((cursor, limit) =>
    this.api.list<Update>(`/devices/${this.device()}/updates`, { cursor, limit }),
  );

  constructor() {
    effect(() => {
      this.device();
      untracked(() => this.list.restart());
    });
    inject(Feed).watch(
      () => [`device:${this.device()}`],
      ({ event, data }) => {
        if (event !== 'update') return;
        const update = data as Update;
        if (this.list.items().some(({ id }) => id === update.id))
          this.list.patch((row) => (row.id === update.id ? update : row));
        else if (this.list.loading()) this.list.reload();
        else if (update.id > (this.list.items()[0]?.id ?? 0)) this.list.prepend(update);
      },
      () => !this.list.loading() && this.list.reload(),
    );
  }

  protected took(update: Update): string {
    const end = isUnderWay(update.state) ? now() : Date.parse(update.updated_at);
    return duration((end - Date.parse(update.created_at)) / 1000);
  }

  protected underWay(update: Update): boolean {
    return isUnderWay(update.state);
  }
}
