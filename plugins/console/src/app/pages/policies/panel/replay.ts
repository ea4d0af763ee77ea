import { ChangeDetectionStrategy, Component, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatSelectModule } from '@angular/material/select';
import { RouterLink } from '@angular/router';
import { mdiHistory } from '@mdi/js';
import { Api, ApiError } from '../../../core/api';
import { shortTime, zone } from '../../../core/format';
import { Page, Rollout } from '../../../core/models';
import { ReplayView } from '../../../simulation/replay';
import { Empty, Loading, Problem } from '../../../ui/notice';
import { lookOf } from '../../../ui/states';
import { PolicyDocument } from '../document';

const PAGES = 5; // of rollouts that are looked through for those of this policy

/** Chooses among the rollouts of this policy the one whose decisions the text in the editor makes again. */
@Component({
  selector: 'otad-replay-panel',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Empty, FormsModule, Loading, MatFormFieldModule, MatSelectModule, Problem, ReplayView, RouterLink],
  template: `<p class="muted">What this policy decided in a rollout, decided again by the text as it is here.</p>
    @if (listError(); as error) {
      <otad-problem [error]="error" (retry)="find()" />
    } @else if (!rollouts()) {
      <otad-loading [lines]="2" />
    } @else if (!rollouts()!.length) {
      <otad-empty title="No rollout has used it yet" [icon]="icon">
        <span>Once one has, its decisions can be compared with those of a changed text. Until then, simulate.</span>
      </otad-empty>
    } @else {
      <mat-form-field>
        <mat-label>Rollout</mat-label>
        <mat-select name="rollout" [ngModel]="chosen()" (ngModelChange)="chosen.set($event)">
          @for (one of rollouts(); track one.id) {
            <mat-option [value]="one.id">
              {{ one.name }}, {{ lookOf(one.state).text.toLowerCase() }}, {{ shortTime(one.created_at) }}
            </mat-option>
          }
          <mat-option [value]="0">All of them</mat-option>
        </mat-select>
        <mat-hint>Times in {{ zone }}</mat-hint>
      </mat-form-field>
      <otad-replay
        [policy]="policy.name()"
        [rollout]="chosen() || null"
        [source]="policy.shown()"
        [disabled]="policy.errors() > 0"
      >
        @if (chosen(); as id) {
          <a [routerLink]="['/rollouts', id]">Open the rollout</a>
        }
      </otad-replay>
    }`,
  styleUrl: './panel.scss',
})
export class ReplayPanel {
  private readonly api = inject(Api);
  protected readonly policy = inject(PolicyDocument);

  protected readonly icon = mdiHistory;
  protected readonly zone = zone();
  protected readonly rollouts = signal<Rollout[] | null>(null);
  protected readonly chosen = signal(0); // 0: all
  protected readonly listError = signal<ApiError | null>(null);
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
        const page: Page<Rollout> = await this.api.get<Page<Rollout>>('/rollouts', { limit: 200, cursor });
        found.push(...page.items.filter(({ policy }) => policy === this.policy.name()));
        cursor = page.next;
      }
      this.rollouts.set(found);
      this.chosen.set(found[0]?.id ?? 0);
    } catch (error) {
      this.listError.set(ApiError.of(error));
    }
  }
}
