import { ChangeDetectionStrategy, Component, computed, DestroyRef, effect, inject, input, signal } from '@angular/core';
import { mdiCheck, mdiClose, mdiPause } from '@mdi/js';
import { count, counted, duration, percent } from '../../core/format';
import { Rollout, Stage } from '../../core/models';
import { Icon } from '../../ui/icon';
import { countdown, stepsOf } from './stages';

const WORDS = { done: 'Done', now: 'Now', stopped: 'Stopped', next: 'Next' };

/** The stages of a rollout as a track: what is done, where it is, how far, and how long that is watched yet. */
@Component({
  selector: 'otad-stage-track',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon],
  templateUrl: './stage-track.html',
  styleUrl: './stage-track.scss',
})
export class StageTrack {
  readonly rollout = input.required<Pick<Rollout, 'state' | 'stage' | 'counts'>>();
  readonly stages = input.required<Stage[]>();

  protected readonly words = WORDS;
  protected readonly icons = { mdiCheck, mdiClose, mdiPause };
  protected readonly number = count;
  protected readonly counted = counted;
  protected readonly percent = percent;
  protected readonly duration = duration;
  protected readonly countdown = countdown;
  protected readonly steps = computed(() => stepsOf(this.rollout(), this.stages()));
  protected readonly paused = computed(() => this.rollout().state === 'paused');
  private readonly watchedUntil = computed(
    () => this.steps().find(({ watchedUntil }) => watchedUntil !== null)?.watchedUntil ?? null,
  );
  /** Ticks each second while there is something to count down. */
  protected readonly now = signal(Date.now());

  constructor() {
    let timer: ReturnType<typeof setInterval> | undefined;
    effect(() => {
      const until = this.watchedUntil();
      clearInterval(timer);
      if (until === null || until < Date.now()) return;
      timer = setInterval(() => {
        this.now.set(Date.now());
        if (Date.now() > until) clearInterval(timer);
      }, 1000);
    });
    inject(DestroyRef).onDestroy(() => clearInterval(timer));
  }
}
