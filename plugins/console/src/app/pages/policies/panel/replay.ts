import { ChangeDetectionStrategy, Component, computed, inject, output, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatSelectModule } from '@angular/material/select';
import { RouterLink } from '@angular/router';
import { mdiHistory } from '@mdi/js';
import { Api, ApiError } from '../../../core/api';
import { count, counted, shortTime } from '../../../core/format';
import { Page, Replay, Rollout } from '../../../core/models';
import { Empty, Loading, Problem } from '../../../ui/notice';
import { StateBadge } from '../../../ui/state-badge';
import { lookOf } from '../../../ui/states';
import { PolicyDocument } from '../document';

const PAGES = 5; // of rollouts that are looked through for those of this policy

/** What this policy decided in a rollout, decided again by the text as it is in the editor. */
@Component({
  selector: 'otad-replay',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Empty,
    FormsModule,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatSelectModule,
    Problem,
    RouterLink,
    StateBadge,
  ],
  templateUrl: './replay.html',
  styleUrl: './panel.scss',
})
export class ReplayPanel {
  private readonly api = inject(Api);
  protected readonly policy = inject(PolicyDocument);
  readonly goTo = output<number>();

  protected readonly icon = mdiHistory;
  protected readonly rollouts = signal<Rollout[] | null>(null);
  protected readonly chosen = signal(0); // 0: all
  protected readonly busy = signal(false);
  protected readonly listError = signal<ApiError | null>(null);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly result = signal<{ replay: Replay; source: string; rollout: number } | null>(null);
  protected readonly stale = computed(
    () => this.result()?.source !== this.policy.shown() || this.result()?.rollout !== this.chosen(),
  );
  protected readonly count = count;
  protected readonly counted = counted;
  protected readonly shortTime = shortTime;
  protected readonly lookOf = lookOf;

  constructor() {
    this.find();
  }

  protected async find(): Promise<void> {
    this.listError.set(null);
    try {
      const found: Rollout[] = [];
      let cursor: string | null = null;
      for (let i = 0; i === 0 || (cursor && i < PAGES); i++) {
        const page: Page<Rollout> = await this.api.list<Rollout>('/rollouts', { limit: 200, cursor });
        found.push(...page.items.filter(({ policy }) => policy === this.policy.name()));
        cursor = page.next;
      }
      this.rollouts.set(found);
      this.chosen.set(found[0]?.id ?? 0);
    } catch (error) {
      this.listError.set(ApiError.of(error));
    }
  }

  protected async run(): Promise<void> {
    const [source, rollout] = [this.policy.shown(), this.chosen()];
    this.busy.set(true);
    this.error.set(null);
    try {
      const replay = await this.api.post<Replay>(`/policies/${encodeURIComponent(this.policy.name())}/replay`, {
        source,
        ...(rollout ? { rollout_id: rollout } : {}),
      });
      this.result.set({ replay, source, rollout });
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }
}
