import { Api } from './api';
import { Firmware, Page } from './models';

const MOST = 1000; // that a list to choose from has

/** Images to choose from, the newest first. */
export async function readImages(api: Api, chip: string | null = null): Promise<Firmware[]> {
  const images: Firmware[] = [];
  for (let cursor: string | null = null; ;) {
    const page: Page<Firmware> = await api.get('/firmware/list', { chip, limit: 200, cursor });
    images.push(...page.items);
    cursor = page.next;
    if (!cursor || images.length >= MOST) return images;
  }
}
