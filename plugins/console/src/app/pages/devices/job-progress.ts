import {
  ChangeDetectionStrategy,
  Component,
  computed,
  inject,
  input,
  linkedSignal,
  OnInit,
  output,
  signal,
} from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { Api, ApiError, whileHere } from '../../core/api';
import { count, counted } from '../../core/format';
import { Job } from '../../core/models';
import { nextTry } from '../../core/retry';
import { Bar } from '../../ui/bar';
import { Problem } from '../../ui/notice';

const LOOK = 700; // ms between looks at a job
const WORDS: Record<Job['action'], { doing: string; done: string }> = {
  tag: { doing: 'Changing tags', done: 'tagged' },
  update: { doing: 'Starting updates', done: 'given the update' },
  cancel: { doing: 'Cancelling updates', done: 'cancelled' },
  delete: { doing: 'Deleting', done: 'deleted' },
};

/** How far the server is with an action on many devices. It goes on without anybody who looks. */
@Component({
  selector: 'otad-job-progress',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Bar, MatButtonModule, Problem],
  template: `<div class="panel row strip" role="region" [attr.aria-label]="words().doing">
    <div class="job">
      <span>
        {{ words().doing }}: {{ count(it().done) }} of {{ count(it().total) }} looked at, {{ count(it().changed) }}
        {{ words().done }}
      </span>
      <otad-bar
        [total]="it().total || 1"
        [segments]="[{ value: it().done, tone: 'info', text: count(it().done) + ' of ' + count(it().total) }]"
      />
      @for (problem of it().problems; track problem.reason) {
        <span class="muted">{{ counted(problem.count, 'device') }}: {{ problem.reason }}</span>
      }
      <!-- Its beginning and its end are read out, not each step between. -->
      <span class="visually-hidden" role="status">{{ words().doing }} {{ running() ? 'has begun' : 'is done' }}</span>
    </div>
    @if (!running()) {
      <button matButton type="button" (click)="closed.emit()">Close</button>
    }
    @if (error(); as problem) {
      <otad-problem [error]="problem" (retry)="follow()" />
      <button matButton type="button" (click)="closed.emit()">Close</button>
    }
  </div>`,
  styles: `
    .job {
      display: grid;
      flex: 1;
      gap: 6px;
    }
    otad-problem {
      flex-basis: 100%;
      order: 1;
    }
  `,
})
export class JobProgress implements OnInit {
  private readonly api = inject(Api);
  private readonly here = whileHere();

  /** As it was ordered or found. */
  readonly job = input.required<Job>();
  readonly ended = output();
  readonly closed = output();

  protected readonly it = linkedSignal(() => this.job());
  protected readonly running = computed(() => this.it().state === 'running');
  protected readonly words = computed(() => WORDS[this.it().action]);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly count = count;
  protected readonly counted = counted;

  ngOnInit(): void {
    this.follow();
  }

  protected async follow(): Promise<void> {
    this.error.set(null);
    const path = `/jobs/${this.it().id}`;
    for (let wait = LOOK; this.running();) {
      await new Promise((done) => setTimeout(done, wait));
      if (this.here.aborted) return;
      try {
        this.it.set((await this.api.send<{ job: Job }>('GET', path, { signal: this.here })).job);
        wait = LOOK;
      } catch (error) {
        if (this.here.aborted) return;
        const problem = ApiError.of(error);
        const next = nextTry(problem, wait);
        if (next === null) return this.error.set(problem);
        wait = next;
      }
    }
    this.ended.emit();
  }
}
