import { ChangeDetectionStrategy, Component, inject, input, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { RouterLink } from '@angular/router';
import { Api } from '../../core/api';
import { count, counted } from '../../core/format';
import { Problem } from '../../ui/notice';
import { StateBadge } from '../../ui/state-badge';

interface Given {
  verdict: string;
  reason: string | null;
}

interface Replayed {
  decisions: number;
  asked: number;
  same: number;
  reworded: number;
  differing: number;
  failed: number;
  changes: { was: Given; is: Given; count: number; stages: number; device_ids: number[] }[];
  now_offered: { count: number; device_ids: number[] };
  no_longer_offered: { count: number; device_ids: number[] };
}

/** What the policy as it is today would have decided in a rollout, against what was decided. */
@Component({
  selector: 'otad-replay',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [MatButtonModule, Problem, RouterLink, StateBadge],
  template: `<div class="row">
      <p class="muted">
        The recorded decisions of this rollout once more, with the source of
        <a [routerLink]="['/policies', policy()]">{{ policy() }}</a> that is in force now. Nothing is changed by it.
      </p>
      <button matButton="outlined" type="button" [disabled]="busy()" (click)="run()">
        {{ busy() ? 'Replaying…' : result() ? 'Replay again' : 'Replay' }}
      </button>
    </div>
    @if (error(); as problem) {
      <otad-problem [error]="problem" (retry)="run()" />
    }
    <div role="status">
      @if (result(); as found) {
        <p>
          @if (!found.asked) {
            There is no decision of the policy to compare yet.
          } @else if (!found.differing && !found.failed) {
            <strong>It would have decided the same in all {{ counted(found.asked, 'case') }}.</strong>
          } @else {
            <strong
              >It would have decided otherwise in {{ number(found.differing) }} of
              {{ counted(found.asked, 'case') }}.</strong
            >
          }
          @if (found.reworded) {
            {{ number(found.reworded) }} with another reason only.
          }
          @if (found.failed) {
            {{ counted(found.failed, 'call') }} failed.
          }
          @if (found.now_offered.count) {
            {{ counted(found.now_offered.count, 'device') }} more would be offered the update.
          }
          @if (found.no_longer_offered.count) {
            {{ counted(found.no_longer_offered.count, 'device') }} would not.
          }
        </p>
      }
    </div>
    @if (result()?.changes; as changes) {
      @if (changes.length) {
        <div class="table-frame">
          <table class="table">
            <caption class="visually-hidden">
              Decisions that would differ
            </caption>
            <thead>
              <tr>
                <th scope="col">Was</th>
                <th scope="col">Would be</th>
                <th scope="col">How often</th>
                <th scope="col">On</th>
              </tr>
            </thead>
            <tbody>
              @for (change of changes; track $index) {
                <tr>
                  <td><otad-state [state]="change.was.verdict" /> {{ change.was.reason }}</td>
                  <td><otad-state [state]="change.is.verdict" /> {{ change.is.reason }}</td>
                  <td>{{ number(change.count) }}</td>
                  <td>
                    @if (change.stages) {
                      stages
                    }
                    @for (id of change.device_ids; track id) {
                      <a [routerLink]="['/devices', id]">{{ id }}</a>{{ $last ? '' : ', ' }}
                    }
                    @if (change.count - change.stages > change.device_ids.length) {
                      and others
                    }
                  </td>
                </tr>
              }
            </tbody>
          </table>
        </div>
      }
    }`,
  styles: `
    :host {
      display: grid;
      gap: 12px;
    }
    p a {
      text-decoration: underline;
    }
    .row p {
      flex: 1 1 320px;
    }
    .row {
      justify-content: space-between;
    }
  `,
})
export class Replay {
  private readonly api = inject(Api);

  readonly rollout = input.required<number>();
  readonly policy = input.required<string>();

  protected readonly number = count;
  protected readonly counted = counted;
  protected readonly busy = signal(false);
  protected readonly error = signal<unknown>(null);
  protected readonly result = signal<Replayed | null>(null);

  protected async run(): Promise<void> {
    this.busy.set(true);
    this.error.set(null);
    try {
      this.result.set(
        await this.api.post<Replayed>(`/policies/${this.policy()}/replay`, { rollout_id: this.rollout() }),
      );
    } catch (error) {
      this.error.set(error);
    } finally {
      this.busy.set(false);
    }
  }
}
