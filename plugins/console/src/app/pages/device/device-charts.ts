import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal, untracked } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Api } from '../../core/api';
import { zone } from '../../core/format';
import { Loading } from '../../ui/notice';
import { DeviceChart } from './device-chart';
import { DeviceState } from './device-state';
import { inOrder } from './telemetry-fields';

const RANGES = [
  { key: '1h', text: '1 h', seconds: 3600 },
  { key: '24h', text: '24 h', seconds: 86_400 },
  { key: '7d', text: '7 d', seconds: 7 * 86_400 },
  { key: '30d', text: '30 d', seconds: 30 * 86_400 },
];

/** A chart for each number that the device tells; the range is in the address. */
@Component({
  selector: 'otad-device-charts',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [DeviceChart, Loading, RouterLink],
  template: `<section class="panel" aria-labelledby="charts">
    <header>
      <h2 id="charts">Telemetry</h2>
      <span class="muted zone">Times in {{ zone }}</span>
      <nav aria-label="Range of the charts">
        @for (each of ranges; track each.key) {
          <a
            [routerLink]="[]"
            [queryParams]="{ range: each.key }"
            queryParamsHandling="merge"
            [class.on]="each === shown()"
            [attr.aria-current]="each === shown() ? 'true' : null"
            >{{ each.text }}</a
          >
        }
      </nav>
    </header>
    @if (names(); as all) {
      <div class="charts">
        @for (name of all; track name) {
          @defer (on viewport) {
            <otad-device-chart [device]="device()" [name]="name" [back]="shown().seconds" />
          } @placeholder {
            <div class="place"><otad-loading /></div>
          }
        } @empty {
          <p class="muted">The device has reported no numbers yet. Those of its status messages are drawn here.</p>
        }
      </div>
    } @else {
      <otad-loading />
    }
  </section>`,
  styles: `
    nav {
      display: inline-flex;
      border: 1px solid var(--line);
      border-radius: 8px;
      overflow: hidden;
    }
    nav a {
      padding: 3px 12px;
      color: var(--muted);
      font-size: 13px;
    }
    nav a + a {
      border-left: 1px solid var(--line);
    }
    nav a:focus-visible {
      outline-offset: -2px;
    }
    nav .on {
      color: var(--accent);
      background: var(--accent-soft);
      font-weight: 600;
    }
    .zone {
      font-size: 13px;
    }
    .charts {
      display: grid;
      grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr));
      gap: 18px 24px;
    }
    .place {
      min-height: 186px;
    }
  `,
})
export class DeviceCharts {
  private readonly api = inject(Api);
  private readonly state = inject(DeviceState);
  readonly device = input.required<number>();
  readonly range = input<string>();
  protected readonly ranges = RANGES;
  protected readonly zone = zone();
  protected readonly shown = computed(() => RANGES.find(({ key }) => key === this.range()) ?? RANGES[1]);
  private readonly past = signal<string[] | null>(null); // names there is history of

  /** Those of the past, and those the device tells now. */
  protected readonly names = computed(
    () => {
      const past = this.past();
      const numbers = Object.entries(this.state.telemetry()).filter(([, value]) => typeof value === 'number');
      return past && inOrder([...past, ...numbers.map(([name]) => name)]);
    },
    { equal: (a, b) => a === b || (!!a && !!b && a.join('\n') === b.join('\n')) },
  );

  constructor() {
    effect(async () => {
      const device = this.device();
      untracked(() => this.past.set(null));
      const names = await this.api.get<{ names: string[] }>(`/devices/${device}/telemetry/names`).then(
        (answer) => answer.names,
        () => [], // what the device tells now is drawn all the same
      );
      if (device === untracked(this.device)) this.past.set(names);
    });
  }
}
