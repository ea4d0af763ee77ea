import { Simulation, SimulatedStage } from '../core/models';
import { countTicks, cutOf, moment, outcomeOf, pointsOf, timeTicks } from './outcome';

const counted = (at: number, offered: number) => ({
  targeted: 100,
  offered,
  under_way: 0,
  ended: offered,
  succeeded: offered,
  failed: 0,
  failure_rate: 0,
  at_s: at,
  entered_s: 0,
  until_s: at,
});

function simulation(fields: Partial<Simulation>): Simulation {
  const counts = { succeeded: 90, failed: 2, rolled_back: 1, rejected: 0, timed_out: 1, vanished: 1 };
  return {
    outcome: 'completed',
    at_s: 7200,
    stage: 'all',
    reason: null,
    targeted: 100,
    counts,
    timeline: [],
    stages: [],
    ...fields,
  } as unknown as Simulation;
}

describe('outcomeOf', () => {
  const stages = [{ name: 'canary' }, { name: 'all' }] as SimulatedStage[];

  it('tells when, where, why and how many', () => {
    expect(outcomeOf(simulation({}))).toEqual({
      title: 'Completes after 2\u00a0h',
      text: '90 of 100 devices succeed, 5 fail (5.3 %).',
      tone: 'good',
    });
    const paused = simulation({ outcome: 'paused', at_s: 1800, stage: 'canary', reason: 'failures above 5 %', stages });
    expect(outcomeOf(paused).title).toBe('Pauses after 30\u00a0min in stage “canary”: failures above 5 %');
    const running = simulation({ outcome: 'running', at_s: 1209600, reason: 'the time was over: one is held', stages });
    expect(outcomeOf(running)).toMatchObject({
      title: 'Is not over after 14\u00a0d in stage “all”: one is held',
      tone: 'warn',
    });
  });

  it('says so where nobody can have it', () => {
    expect(outcomeOf(simulation({ targeted: 0 })).tone).toBe('warn');
  });
});

describe('moment', () => {
  it('has two units at most', () => {
    const words = [0, 1, 90, 1967, 9167, 90_000, 1_209_600].map((seconds) => moment(seconds).replaceAll('\u00a0', ' '));
    expect(words).toEqual(['0 s', '1 s', '1 min 30 s', '32 min 47 s', '2 h 32 min', '1 d 1 h', '14 d']);
  });
});

describe('the chart', () => {
  it('has a point for each moment, the last of it', () => {
    const timeline = [counted(0, 0), counted(60, 5), counted(60, 6)] as unknown as Simulation['timeline'];
    const stages = [counted(60, 6), counted(900, 100)] as unknown as Simulation['stages'];
    expect(pointsOf(simulation({ timeline, stages, at_s: 900 })).map(({ at, offered }) => [at, offered])).toEqual([
      [0, 0],
      [60, 6],
      [900, 100],
    ]);
  });

  it('draws nothing of stages that it never came to', () => {
    const stages = [counted(60, 6), { name: 'all', share: 1, soak_s: 0, entered_s: null }] as SimulatedStage[];
    expect(pointsOf(simulation({ stages, at_s: 60 })).map(({ at, offered }) => [at, offered])).toEqual([[60, 6]]);
  });

  it('cuts the time in which nothing happens', () => {
    const point = (at: number) => ({ at, offered: 0, succeeded: 0, failed: 0 });
    expect(cutOf([point(0), point(100), point(250)])).toBeNull();
    expect(cutOf([point(0), point(100), point(9000)])).toBe(100);
    expect(cutOf([point(0), point(9000)])).toBeNull();
    expect(cutOf([])).toBeNull();
  });

  it('has round marks', () => {
    expect(timeTicks(7300, 5)).toEqual([0, 1800, 3600, 5400, 7200]);
    expect(timeTicks(0, 5)).toEqual([0]);
    expect(countTicks(3008)).toEqual([0, 1000, 2000, 3000]);
    expect(countTicks(2)).toEqual([0, 1, 2]);
    expect(countTicks(0)).toEqual([0]);
  });
});
