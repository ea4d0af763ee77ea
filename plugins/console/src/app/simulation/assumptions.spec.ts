import { ASSUMED, assumptionsOf } from './assumptions';

describe('assumptionsOf', () => {
  it('says what the API takes', () => {
    expect(assumptionsOf({ ...ASSUMED, failures: 2.5, seconds: 90 })).toEqual({
      resumes: 0,
      seed: 1,
      assume: { failure_rate: 0.025, duration_s: 90 },
    });
  });

  it('says nothing where something cannot be', () => {
    for (const wrong of [{ failures: 101 }, { failures: null }, { seconds: 0 }, { resumes: 1.5 }, { seed: -1 }])
      expect(assumptionsOf({ ...ASSUMED, ...wrong })).toBeNull();
  });
});
