import { ChangeDetectionStrategy, Component, computed, inject, input, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { RouterLink } from '@angular/router';
import { Api, ApiError, whileHere } from '../core/api';
import { count, counted } from '../core/format';
import { Replay } from '../core/models';
import { Frame } from '../ui/frame';
import { Problem } from '../ui/notice';
import { PolicyLine } from '../ui/policy-line';
import { StateBadge } from '../ui/state-badge';

/** What a policy decided in a rollout, decided again, and what would differ. What it is about stands in its content. */
@Component({
  selector: 'otad-replay',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Frame, MatButtonModule, PolicyLine, Problem, RouterLink, StateBadge],
  templateUrl: './replay.html',
  styleUrls: ['./result.scss', './replay.scss'],
})
export class ReplayView {
  private readonly api = inject(Api);
  private readonly signal = whileHere();

  readonly policy = input.required<string>();
  /** null: all of the policy's. */
  readonly rollout = input.required<number | null>();
  /** undefined: what is in force. */
  readonly source = input<string>();
  readonly disabled = input(false);

  protected readonly count = count;
  protected readonly counted = counted;
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly result = signal<{ replay: Replay; source: string | undefined; rollout: number | null } | null>(
    null,
  );
  protected readonly stale = computed(
    () => this.result()?.source !== this.source() || this.result()?.rollout !== this.rollout(),
  );

  protected async run(): Promise<void> {
    const [source, rollout] = [this.source(), this.rollout()];
    this.busy.set(true);
    this.error.set(null);
    try {
      const body = { ...(source !== undefined && { source }), ...(rollout !== null && { rollout_id: rollout }) };
      const path = `/policies/${encodeURIComponent(this.policy())}/replay`;
      const replay = await this.api.send<Replay>('POST', path, { body, signal: this.signal });
      this.result.set({ replay, source, rollout });
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }
}
