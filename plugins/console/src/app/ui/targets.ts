// What a target of a rollout is made of, from and to what people type.
import { Tags, Target } from '../core/models';

export const MOST_IDS = 10_000;

/** "1, 2 3" -> ids, each once; what is none is named. */
export function readIds(text: string): { ids: number[]; wrong: string[] } {
  const words = text.split(/[\s,;]+/).filter((word) => word);
  const good = (word: string) => /^[1-9]\d{0,9}$/.test(word) && Number(word) < 2 ** 31;
  return { ids: [...new Set(words.filter(good).map(Number))], wrong: words.filter((word) => !good(word)) };
}

export function tagProblem(text: string): string | null {
  return /^[^:]+:/.test(text) ? null : 'A tag is written name:value';
}

/** Of one name the last value holds: a device has one. */
export function readTags(texts: string[]): Tags {
  return Object.fromEntries(
    texts.map((text) => [text.slice(0, text.indexOf(':')).trim(), text.slice(text.indexOf(':') + 1).trim()]),
  );
}

export function writeTags(tags: Tags | undefined): string[] {
  return Object.entries(tags ?? {}).map(([key, value]) => `${key}:${value}`);
}

/** Without what is empty; undefined where nothing is left. */
export function tidy(target: Target): Target | undefined {
  const { chip, tags, versions, device_ids: ids } = target;
  const tidied: Target = {
    ...(chip && { chip }),
    ...(tags && Object.keys(tags).length && { tags }),
    ...(versions?.length && { versions }),
    ...(ids?.length && { device_ids: ids }),
  };
  return Object.keys(tidied).length ? tidied : undefined;
}
