import { ChangeDetectionStrategy, Component, computed, effect, inject, signal, untracked } from '@angular/core';
import { toSignal } from '@angular/core/rxjs-interop';
import { ActivatedRoute, RouterLink } from '@angular/router';
import { map } from 'rxjs';
import { Api } from '../../core/api';
import { Page, Rollout } from '../../core/models';
import { Session } from '../../core/session';
import { Copy } from '../../ui/copy';
import { Problem } from '../../ui/notice';
import { Time } from '../../ui/time';
import { DeviceCharts } from './device-charts';
import { DeviceState } from './device-state';
import { DeviceUpdate } from './device-update';
import { DeviceWhy } from './device-why';
import { field, inOrder, shown } from './telemetry-fields';

/** A rollout wants nothing of a device that is in such a state. */
const OVER = ['untargeted', 'excluded', 'skipped', 'succeeded', 'vanished', 'rolled_back', 'rejected', 'cancelled'];

/** What it runs, whether that is what it should run, why (not), and how it is. */
@Component({
  selector: 'otad-device-overview',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Copy, DeviceCharts, DeviceUpdate, DeviceWhy, Problem, RouterLink, Time],
  templateUrl: './device-overview.html',
  styles: `
    :host {
      display: grid;
      grid-template: 'why side' auto 'charts side' 1fr / minmax(0, 2fr) minmax(300px, 1fr);
      gap: var(--gap);
      align-items: start;
    }
    .why {
      grid-area: why;
    }
    .side {
      grid-area: side;
    }
    otad-device-charts {
      grid-area: charts;
    }
    .hash {
      font-size: 12.5px;
    }
    .verdict {
      margin-bottom: 14px;
      font-size: 15px;
    }
    dd a {
      text-decoration: underline;
    }
    dd code {
      overflow-wrap: anywhere;
    }
    @media (max-width: 1000px) {
      :host {
        grid-template: 'why' 'side' 'charts' / minmax(0, 1fr);
      }
    }
  `,
})
export class DeviceOverview {
  private readonly api = inject(Api);
  protected readonly state = inject(DeviceState);
  protected readonly session = inject(Session);
  private readonly wanted = signal<Rollout[]>([]);

  protected readonly range = toSignal(inject(ActivatedRoute).queryParamMap.pipe(map((query) => query.get('range'))));

  /** The newest image for its chip; of the project that it runs, where that is known. */
  protected readonly newest = computed(() => {
    const running = this.state.running();
    if (!this.state.chip()) return null;
    return this.state.images()?.find((image) => !running || image.project === running.project) ?? null;
  });
  /** Rollouts that go on and mean this device, with what they bring. */
  protected readonly rollouts = computed(() => this.wanted().filter(({ id }) => this.concerned().includes(id)));
  private readonly concerned = computed(
    () =>
      (this.state.explanation()?.rollouts ?? [])
        .filter((row) => ['running', 'paused', 'rolling_back'].includes(row.rollout_state) && !OVER.includes(row.state))
        .map((row) => row.rollout_id),
    { equal: (a, b) => a.join() === b.join() },
  );

  protected readonly verdict = computed(() => {
    const device = this.state.device()!;
    const running = this.state.running();
    const newest = this.newest();
    if (!device.firmware_version) return 'The device has not reported yet what it runs.';
    if (!this.state.images()) return `It runs ${device.firmware_version}.`;
    if (!running)
      return device.elf_sha256
        ? `It runs ${device.firmware_version}, from an image that was never uploaded here.`
        : `It runs ${device.firmware_version}. It does not report the hash of its image, so which one is not known.`;
    if (!newest || running.id === newest.id) return `It runs the newest ${running.project} for its chip.`;
    return `It runs ${running.project} ${running.version}; the newest for its chip is ${newest.version}.`;
  });

  protected readonly facts = computed(() => {
    const telemetry = this.state.telemetry();
    return inOrder(Object.keys(telemetry)).map((name) => ({
      name: field(name).label,
      value: shown(name, telemetry[name]),
    }));
  });

  constructor() {
    effect(async () => {
      const ids = this.concerned();
      if (!ids.length || !this.session.operator()) return untracked(() => this.wanted.set([]));
      try {
        this.wanted.set((await this.api.get<Page<Rollout>>('/rollouts', { limit: 200 })).items);
      } catch {
        /* what it says of them stands in words all the same */
      }
    });
  }
}
