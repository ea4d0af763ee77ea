import { fullTime } from '../../core/format';
import { forConsole } from './why-words';

describe('explanations', () => {
  it('tells times in local time', () => {
    expect(forConsole('It is asked again at 2026-11-29 08:12:02 UTC.')).toBe(
      `It is asked again at ${fullTime('2026-11-29T08:12:02Z')}.`,
    );
  });

  it('names buttons instead of requests', () => {
    expect(forConsole('To have it updated all the same: POST /devices/:id/update, or change the policy.')).toBe(
      'To have it updated all the same: use the button Update, or change the policy.',
    );
    expect(forConsole('It is not asked again in this rollout; POST /devices/:id/update updates it all the same.')).toBe(
      'It is not asked again in this rollout; the button Update updates it all the same.',
    );
    expect(forConsole('Nothing is offered until it is resumed (POST /rollouts/:id/resume).')).toBe(
      'Nothing is offered until it is resumed.',
    );
  });
});
