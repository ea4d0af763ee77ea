import { ApiError } from './api';
import { nextTry } from './retry';

describe('nextTry', () => {
  const failed = (status: number, retryAfter: number | null = null) => new ApiError(status, '', [], {}, retryAfter);

  it('gives up where the answer would be the same', () => {
    for (const status of [400, 401, 403, 404]) expect(nextTry(failed(status), 700)).toBeNull();
  });

  it('waits as long as the server says, else longer each time, up to half a minute', () => {
    expect(nextTry(failed(503, 5), 700)).toBe(5000);
    expect(nextTry(failed(429, 2), 700)).toBe(2000);
    expect(nextTry(failed(503), 700)).toBe(1400);
    expect(nextTry(failed(0), 28_000)).toBe(30_000);
  });
});
