import { ChangeDetectionStrategy, Component, computed, inject, signal, viewChild } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatSelectModule } from '@angular/material/select';
import { Api, ApiError, whileHere } from '../../../core/api';
import { CHIP_NAMES } from '../../../core/chips';
import { readImages } from '../../../core/images';
import { Firmware, Simulation, Tags } from '../../../core/models';
import { ASSUMED, Assumptions, assumptionsOf } from '../../../simulation/assumptions';
import { SimulationResult } from '../../../simulation/result';
import { Problem } from '../../../ui/notice';
import { TagsField } from '../../../ui/tags-field';
import { tidy } from '../../../ui/targets';
import { PolicyDocument } from '../document';

/** A rollout in virtual time, by the text as it is in the editor, with the devices of the fleet. */
@Component({
  selector: 'otad-simulate',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Assumptions,
    FormsModule,
    MatButtonModule,
    MatFormFieldModule,
    MatSelectModule,
    Problem,
    SimulationResult,
    TagsField,
  ],
  templateUrl: './simulate.html',
  styleUrl: './panel.scss',
})
export class Simulate {
  private readonly api = inject(Api);
  private readonly signal = whileHere();
  protected readonly policy = inject(PolicyDocument);
  private readonly tagsField = viewChild.required(TagsField);

  protected readonly chips = CHIP_NAMES;
  protected readonly firmware = signal<Firmware[]>([]);
  protected readonly image = signal(0); // 0: any
  protected readonly chip = signal('');
  protected readonly tags = signal<Tags>({});
  protected readonly assumed = signal(ASSUMED);
  protected readonly assumptions = computed(() => assumptionsOf(this.assumed()));

  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly result = signal<{ simulation: Simulation; source: string } | null>(null);
  protected readonly stale = computed(() => this.result()?.source !== this.policy.shown());

  constructor() {
    readImages(this.api).then(
      (images) => this.firmware.set(images),
      () => {}, // a simulation does without
    );
  }

  protected async run(): Promise<void> {
    if (!this.tagsField().take() || !this.assumptions()) return;
    const source = this.policy.shown();
    this.busy.set(true);
    this.error.set(null);
    try {
      const body = {
        source,
        ...(this.image() && { firmware_id: this.image() }),
        target: tidy({ chip: this.chip(), tags: this.tags() }) ?? {},
        ...this.assumptions(),
      };
      const signal = this.signal;
      const simulation = await this.api.send<Simulation>('POST', '/policies/simulate', { body, signal });
      this.result.set({ simulation, source });
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }
}
