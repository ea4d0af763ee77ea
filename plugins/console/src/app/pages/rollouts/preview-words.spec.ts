import { curvesOf, describePolicy, outcomeWords, paramsRead, Preview, readParams } from './preview-words';

const PREVIEW: Preview = {
  outcome: 'completed',
  at_s: 7200,
  stage: 'all',
  reason: null,
  devices: 120,
  targeted: 100,
  excluded: [{ reason: 'runs this image already', count: 20 }],
  held: [],
  counts: { succeeded: 90, rolled_back: 8, timed_out: 2 },
  fleet: { devices: 120, simulated: 120, made_up: false },
  stages: [
    { name: 'few', share: 0.1, entered_s: 0, offered: 10, succeeded: 10, failed: 0 },
    { name: 'all', share: 1, entered_s: 600, offered: 100, succeeded: 90, failed: 10 },
  ],
  timeline: [
    { at_s: 0, offered: 0, succeeded: 0, failed: 0 },
    { at_s: 3600, offered: 100, succeeded: 90, failed: 10 },
  ],
};

describe('outcomeWords', () => {
  it('says how it ends, when, and for how many', () => {
    expect(outcomeWords(PREVIEW)).toBe('Completes after 2 h. 90 of 100 succeed, 10 fail (10 %).');
    expect(outcomeWords({ ...PREVIEW, outcome: 'paused', stage: 'few', reason: 'too many' })).toBe(
      'Pauses in stage “few” after 2 h: too many. By then 90 of 100 succeed, 10 fail (10 %).',
    );
    expect(outcomeWords({ ...PREVIEW, outcome: 'running', reason: 'the time was over' })).toContain(
      'Is not over after 2 h',
    );
    expect(outcomeWords({ ...PREVIEW, targeted: 0, timeline: [], counts: {} })).toBe(
      'Completes at once: no device can have it.',
    );
  });
});

describe('curvesOf', () => {
  it('goes to the end, in shares of time and devices', () => {
    expect(curvesOf(PREVIEW)[1]).toEqual({ kind: 'succeeded', points: [[0, 0], [0.5, 0.9], [1, 0.9]] }); // prettier-ignore
    expect(curvesOf({ ...PREVIEW, at_s: 0, targeted: 0, timeline: [], counts: {} })[0].points).toEqual([]);
  });
});

describe('policies', () => {
  const SOURCE =
    '-- Updates at night.\n-- In two nights.\nlocal when = 1 -- not this\nreturn { rollout.params.timezone, params.hour }\n';

  it('are described by the comment they begin with', () => {
    expect(describePolicy(SOURCE)).toBe('Updates at night. In two nights.');
    expect(describePolicy('return {}')).toBe('');
    expect(describePolicy('-- Only words')).toBe('Only words');
  });

  it('tell which parameters they read', () => {
    expect(paramsRead(SOURCE + 'params.hour')).toEqual(['timezone', 'hour']);
  });
});

describe('readParams', () => {
  it('takes an object, or nothing', () => {
    expect(readParams(' ')).toEqual({ params: {} });
    expect(readParams('{"a": [1]}')).toEqual({ params: { a: [1] } });
    for (const text of ['[1]', '1', 'null', '{a: 1}']) expect(readParams(text)).toHaveProperty('problem');
  });
});
