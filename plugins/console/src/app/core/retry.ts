import { ApiError } from './api';

const LONGEST = 30_000; // ms

/** After how many milliseconds to ask again, where `waited` were not enough; null: the answer would be the same. */
export function nextTry({ status, retryAfter }: ApiError, waited: number): number | null {
  if (status >= 400 && status < 500 && status !== 429) return null;
  return retryAfter === null ? Math.min(waited * 2, LONGEST) : retryAfter * 1000;
}
