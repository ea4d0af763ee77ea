import { endedOf, failuresOf } from '../../core/counts';
import { RolloutCounts, Stage } from '../../core/models';
import { countdown, steeringOf, stepsOf } from './stages';

const STAGES: Stage[] = [
  { name: 'canary', share: 0.01, soak: 1800 },
  { name: 'half', share: 0.5, soak: 0 },
  { name: 'all', share: 1, soak: 0 },
];
const ENTERED = '2026-01-05T09:00:00Z';

function counts(some: Partial<RolloutCounts>): RolloutCounts {
  const none = {
    targeted: 0, excluded: 0, under_way: 0, waiting: 0, held: 0, pending: 0, offered: 0, downloading: 0, installing: 0,
    succeeded: 0, vanished: 0, failed: 0, rolled_back: 0, rejected: 0, timed_out: 0, cancelled: 0, skipped: 0,
  }; // prettier-ignore
  return { ...none, ...some };
}

function steps(
  state: 'running' | 'paused' | 'completed' | 'aborted',
  index: number | null,
  some: Partial<RolloutCounts>,
) {
  const stage = index === null ? null : { index, name: '', share: 0, of: 3, entered_at: ENTERED };
  return stepsOf({ state, stage, counts: counts(some) }, STAGES);
}

describe('stepsOf', () => {
  it('tells what is done, under way and next', () => {
    expect(
      steps('running', 1, { targeted: 200, succeeded: 40, failed: 10 }).map(({ when, devices, ended }) => [
        when,
        devices,
        ended,
      ]),
    ).toEqual([
      ['done', 2, 2],
      ['now', 100, 50],
      ['next', 200, 0],
    ]);
  });

  it('takes one device at least into a share, and not one too many', () => {
    expect(steps('running', 0, { targeted: 63 })[0].devices).toBe(1);
    expect(
      stepsOf({ state: 'running', stage: null, counts: counts({ targeted: 100 }) }, [
        { name: 'a', share: 0.07, soak: 0 },
      ])[0].devices,
    ).toBe(7);
  });

  it('says until when a stage is watched', () => {
    expect(steps('running', 0, { targeted: 200 })[0].watchedUntil).toBe(Date.parse('2026-01-05T09:30:00Z'));
    expect(steps('running', 1, { targeted: 200 })[1].watchedUntil).toBeNull();
  });

  it('knows rollouts that have not begun, are over, or were stopped', () => {
    expect(steps('running', null, { targeted: 5 }).map(({ when }) => when)).toEqual(['next', 'next', 'next']);
    expect(steps('completed', 2, { targeted: 5 }).map(({ when }) => when)).toEqual(['done', 'done', 'done']);
    expect(steps('aborted', 1, { targeted: 5 }).map(({ when }) => when)).toEqual(['done', 'stopped', 'next']);
    expect(steps('completed', 2, { targeted: 0 })[2].progress).toBe(1);
  });

  it('counts no more than a stage has', () => {
    expect(steps('paused', 0, { targeted: 200, succeeded: 50 })[0]).toMatchObject({ ended: 2, progress: 1 });
  });
});

describe('failuresOf', () => {
  it('counts as policies do: what was rejected or cancelled says nothing', () => {
    const some = { succeeded: 90, failed: 4, rolled_back: 3, timed_out: 2, vanished: 1, rejected: 50, cancelled: 50 };
    const failures = failuresOf(counts(some))!;
    expect(failures).toMatchObject({ failed: 10, of: 100, rate: 0.1 });
    expect(failures.low).toBeCloseTo(0.0552, 3);
    expect(failures.high).toBeCloseTo(0.1744, 3);
    expect(endedOf(counts(some))).toBe(200);
  });

  it('says nothing of nothing', () => {
    expect(failuresOf(counts({ waiting: 3 }))).toBeNull();
  });
});

describe('steeringOf', () => {
  it('offers what the state allows', () => {
    expect(steeringOf('running')).toEqual(['pause', 'abort', 'rollback']);
    expect(steeringOf('paused')).toContain('resume');
    expect(steeringOf('rolled_back')).toEqual([]);
  });
});

describe('words', () => {
  it('counts down', () => {
    expect([countdown(125_000), countdown(3_725_000), countdown(-5), countdown(999)]).toEqual([
      '2:05',
      '1:02:05',
      '0:00',
      '0:01',
    ]);
  });
});
