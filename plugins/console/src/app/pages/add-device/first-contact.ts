import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal, untracked } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatProgressBarModule } from '@angular/material/progress-bar';
import { RouterLink } from '@angular/router';
import { mdiCheckCircle } from '@mdi/js';
import { Api } from '../../core/api';
import { Feed } from '../../core/feed';
import { Device, Page, StatusNews } from '../../core/models';
import { Session } from '../../core/session';
import { Icon } from '../../ui/icon';

/** Waits for the first status of a device, and says what to do then. */
@Component({
  selector: 'otad-first-contact',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatButtonModule, MatProgressBarModule, RouterLink],
  template: `<div class="callout" [class.good]="here()" role="status">
    @if (here(); as device) {
      <otad-icon [path]="icon" />
      <div class="words">
        <strong>{{ device.device_code }} is online</strong>
        <span>
          It runs {{ device.firmware_version ?? 'a version that it did not report'
          }}{{ device.chip_reported ? ' on ' + device.chip_reported : '' }}.
          @if (images() === 0) {
            Next: upload firmware for it, then update it.
          } @else {
            Next: update it to firmware for its chip.
          }
        </span>
      </div>
      @if (images() === 0 && session.operator()) {
        <a matButton="filled" routerLink="/firmware">Upload firmware</a>
      } @else {
        <a matButton="filled" [routerLink]="['/devices', device.id]">Update it</a>
      }
    } @else {
      <div class="words">
        <strong>Waiting for {{ device().device_code }} to connect</strong>
        <span class="muted">This changes by itself as soon as its first status arrives.</span>
        <mat-progress-bar mode="indeterminate" aria-label="Waiting for the device" />
      </div>
    }
  </div>`,
  styles: `
    .callout {
      flex-wrap: wrap;
      align-items: center;
      padding: 14px 18px;
    }
    .words {
      display: grid;
      flex: 1;
      min-width: 220px;
      gap: 4px;
    }
    otad-icon {
      width: 28px;
      height: 28px;
      color: var(--good);
    }
    mat-progress-bar {
      margin-top: 6px;
    }
  `,
})
export class FirstContact {
  private readonly api = inject(Api);
  protected readonly session = inject(Session);
  readonly device = input.required<Device>();
  protected readonly icon = mdiCheckCircle;
  protected readonly here = signal<Device | null>(null);
  /** How many images there are for its chip, a few at most; null: not known. */
  protected readonly images = signal<number | null>(null);
  private readonly topics = computed(() => [`device:${this.device().id}`]);

  constructor() {
    effect(() => {
      this.device();
      untracked(() => {
        this.here.set(null);
        this.look();
      });
    });
    inject(Feed).watch(
      this.topics,
      ({ event, data }) => {
        if (event === 'status' && (data as StatusNews).status === 'online' && !this.here()) this.look();
      },
      () => this.look(),
    );
  }

  private async look(): Promise<void> {
    const { id } = this.device();
    try {
      const device = await this.api.get<Device>(`/devices/${id}`);
      if (id !== this.device().id || device.status !== 'online') return;
      this.here.set(device);
      const chip = device.chip ?? device.chip_reported;
      this.images.set((await this.api.get<Page<unknown>>('/firmware/list', { chip, limit: 1 })).items.length);
    } catch {
      /* the next status looks again */
    }
  }
}
