import { ChangeDetectionStrategy, Component, computed, inject, output, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatSelectModule } from '@angular/material/select';
import { Api, ApiError } from '../../../core/api';
import { count, counted } from '../../../core/format';
import { Firmware, Simulation } from '../../../core/models';
import { Problem } from '../../../ui/notice';
import { StateBadge } from '../../../ui/state-badge';
import { PolicyDocument } from '../document';
import { moment, outcomeWords, parseTags } from './outcome';
import { Timeline } from './timeline';

/** A rollout in virtual time, by the text as it is in the editor, with the devices of the fleet. */
@Component({
  selector: 'otad-simulate',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    FormsModule,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatSelectModule,
    Problem,
    StateBadge,
    Timeline,
  ],
  templateUrl: './simulate.html',
  styleUrl: './panel.scss',
})
export class Simulate {
  private readonly api = inject(Api);
  protected readonly policy = inject(PolicyDocument);
  readonly goTo = output<number>();

  protected readonly firmware = signal<Firmware[]>([]);
  protected readonly known = signal<{ chips: string[]; tags: string[] }>({ chips: [], tags: [] });
  protected readonly chips = computed(() =>
    [...new Set([...this.known().chips, ...this.firmware().map(({ chip }) => chip)])].sort(),
  );

  protected readonly image = signal(0);
  protected readonly chip = signal('');
  protected readonly tags = signal('');
  protected readonly failures = signal(2);
  protected readonly seconds = signal(60);
  protected readonly seed = signal(1);
  protected readonly tagsWrong = computed(() => parseTags(this.tags()) === null);
  protected readonly wrong = computed(
    () =>
      this.tagsWrong() ||
      !(this.failures() >= 0 && this.failures() <= 100) ||
      !(this.seconds() >= 1 && this.seconds() <= 2_592_000) ||
      !(Number.isInteger(this.seed()) && this.seed() >= 0 && this.seed() < 2 ** 31),
  );

  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly result = signal<{ simulation: Simulation; source: string } | null>(null);
  protected readonly outcome = computed(() => {
    const result = this.result();
    return result && outcomeWords(result.simulation);
  });
  protected readonly stale = computed(() => this.result()?.source !== this.policy.shown());
  protected readonly count = count;
  protected readonly counted = counted;
  protected readonly moment = moment;

  constructor() {
    this.api.list<Firmware>('/firmware/list', { limit: 200 }).then(
      ({ items }) => this.firmware.set(items),
      () => {}, // a simulation does without
    );
    this.api.get<Record<'chips' | 'tags', { value: string }[]>>('/devices/facets').then(
      ({ chips, tags }) =>
        this.known.set({
          chips: chips.map(({ value }) => value),
          tags: tags.map(({ value }) => value.replace(':', '=')),
        }),
      () => {}, // only suggestions
    );
  }

  protected async run(): Promise<void> {
    if (this.wrong()) return;
    const source = this.policy.shown();
    const tags = parseTags(this.tags())!;
    this.busy.set(true);
    this.error.set(null);
    try {
      const simulation = await this.api.post<Simulation>('/policies/simulate', {
        source,
        ...(this.image() ? { firmware_id: this.image() } : {}),
        target: {
          ...(this.chip() ? { chip: this.chip() } : {}),
          ...(Object.keys(tags).length ? { tags } : {}),
        },
        assume: { failure_rate: this.failures() / 100, duration_s: this.seconds() },
        seed: this.seed(),
      });
      this.result.set({ simulation, source });
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }
}
