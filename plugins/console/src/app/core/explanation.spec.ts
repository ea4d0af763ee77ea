import { explainedDevice, explainedRollout } from './explanation';
import { fullTime } from './format';

describe('explanations', () => {
  it('tell times in local time', () => {
    expect(explainedDevice('It is asked again at 2026-11-29 08:12:02 UTC.')).toBe(
      `It is asked again at ${fullTime('2026-11-29T08:12:02Z')}.`,
    );
  });

  it('name buttons instead of requests', () => {
    expect(explainedDevice('To have it updated all the same: POST /devices/:id/update, or change the policy.')).toBe(
      'To have it updated all the same: use the button Update, or change the policy.',
    );
    expect(
      explainedDevice('It is not asked again in this rollout; POST /devices/:id/update updates it all the same.'),
    ).toBe('It is not asked again in this rollout; the button Update updates it all the same.');
    expect(explainedDevice('Nothing is offered until it is resumed (POST /rollouts/:id/resume).')).toBe(
      'Nothing is offered until it is resumed.',
    );
  });

  it('of rollouts leave out what stands above, and tell code', () => {
    const pieces = explainedRollout(
      'Rollout 3 (To 1.0. All) to version 1.0 is paused: wait. It is in stage "all" since 2026-01-05 09:00:00 UTC. By line 3: `return "hold"`. POST /rollouts/:id/pause stops it; /abort ends it.',
    );
    expect(pieces.map(({ code }) => code)).toEqual([false, true, false]);
    expect(pieces[0].text).toMatch(/^It is in stage "all"/);
    expect(pieces[0].text).toContain(fullTime('2026-01-05T09:00:00Z'));
    expect(pieces[1].text).toBe('return "hold"');
    expect(pieces[2].text).toBe('.');
  });
});
