import { ChangeDetectionStrategy, Component, computed, inject, input, output } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatMenuModule } from '@angular/material/menu';
import { RouterLink } from '@angular/router';
import { Api } from '../../core/api';
import { counted } from '../../core/format';
import { DeviceFilter, Job } from '../../core/models';
import { Session } from '../../core/session';
import { Confirm } from '../../ui/confirm';
import { LazyDialog } from '../../ui/lazy-dialog';
import { Toast } from '../../ui/toast';
import type { BulkWish } from './bulk-dialog';

export interface Selection {
  count: number;
  select: { device_ids: number[] } | { filter: DeviceFilter };
}

const MOST_IN_ADDRESS = 1000; // ids

/** What can be done with the devices selected. The server does it, in parts. */
@Component({
  selector: 'otad-bulk-bar',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [MatButtonModule, MatMenuModule, RouterLink],
  template: `<div class="panel row strip" role="region" aria-label="Selected devices">
    <strong role="status">{{ counted(selection().count, 'device') }} selected</strong>
    <ng-content />
    <span class="spacer"></span>
    <button matButton="outlined" type="button" (click)="wish('tag')">Change tags</button>
    <button matButton="outlined" type="button" (click)="wish('update')">Update</button>
    @if (rolloutTarget(); as target) {
      <a matButton="outlined" routerLink="/rollouts/new" [queryParams]="target">Roll out</a>
    }
    <button matButton="outlined" type="button" [matMenuTriggerFor]="more">More</button>
    <mat-menu #more="matMenu">
      <button mat-menu-item (click)="cancelUpdates()">Cancel updates under way</button>
      <button mat-menu-item (click)="remove()">Delete</button>
    </mat-menu>
    <button matButton type="button" (click)="cleared.emit()">Clear selection</button>
  </div>`,
  styles: `
    :host {
      position: sticky;
      top: 64px;
      z-index: 10;
    }
    .panel {
      box-shadow: 0 4px 16px #0002;
    }
  `,
})
export class BulkBar {
  private readonly api = inject(Api);
  private readonly dialog = inject(LazyDialog);
  private readonly confirm = inject(Confirm);
  private readonly toast = inject(Toast);
  private readonly session = inject(Session);

  readonly selection = input.required<Selection>();
  readonly cleared = output();
  readonly started = output<Job>();

  protected readonly counted = counted;

  /** What a rollout can aim at of this selection: ids, or a filter by chip, tag and version alone. */
  protected readonly rolloutTarget = computed(() => {
    if (!this.session.operator()) return null;
    const { select } = this.selection();
    if ('device_ids' in select)
      return select.device_ids.length > MOST_IN_ADDRESS ? null : { device_ids: select.device_ids.join(',') };
    const { chip, tag, version, ...others } = select.filter;
    return Object.keys(others).length ? null : { chip, tag, version };
  });

  protected async wish(action: 'tag' | 'update'): Promise<void> {
    const data = { action, count: this.selection().count };
    const load = () => import('./bulk-dialog').then((m) => m.BulkDialog);
    const wish = await this.dialog.open<BulkWish>(load, { data, width: '520px' });
    if (wish) await this.start({ action, ...wish });
  }

  protected async cancelUpdates(): Promise<void> {
    const question = {
      title: 'Cancel updates?',
      text: `Ends the updates under way of ${counted(this.selection().count, 'selected device')}. A device that is installing already may still restart into the new image.`,
      verb: 'Cancel updates',
      no: 'Keep updating',
    };
    if ((await this.confirm.ask(question)) !== undefined) await this.start({ action: 'cancel' });
  }

  protected async remove(): Promise<void> {
    const n = this.selection().count;
    const question = {
      title: `Delete ${counted(n, 'device')}?`,
      text: 'Their credentials end and their connections are closed at once. Their history goes with them.',
      verb: 'Delete',
      danger: true,
      typed: `${n}`,
    };
    if ((await this.confirm.ask(question)) !== undefined) await this.start({ action: 'delete' });
  }

  private async start(wish: object): Promise<void> {
    await this.toast.around(async () => {
      const { job } = await this.api.post<{ job: Job }>('/devices/bulk', { select: this.selection().select, ...wish });
      this.started.emit(job);
    });
  }
}
