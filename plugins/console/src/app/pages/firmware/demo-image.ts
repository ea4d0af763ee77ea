// A small sound ESP32 application image, for who wants to see an update without building firmware: simulated devices take
// it. Its layout is that of ESP-IDF's esp_app_format.h; on a real chip it would not run.
import { CHIPS } from '../../core/chips';

export interface DemoImage {
  chip: string;
  version: string;
  project: string;
}

export const DEMO_SIZE = 65536;

const HEADERS = 24 + 8 + 256 + 8; // of the image, the first segment, its description, the second segment
const TAIL = 16 + 32; // checksum with its padding, SHA-256

/** The same words give the same bytes, so that one made again is not another image of that version. */
export async function makeDemoImage({ chip, version, project }: DemoImage): Promise<Uint8Array<ArrayBuffer>> {
  const seed = await sha256(new TextEncoder().encode(`${chip}\n${version}\n${project}`));
  const image = new Uint8Array(DEMO_SIZE);
  const view = new DataView(image.buffer);
  const data = DEMO_SIZE - HEADERS - TAIL;
  const first = 256 + data / 2;
  const second = data / 2;

  image.set([0xe9, 2, 2, 0x20]); // magic, segments, SPI mode, speed and flash size
  view.setUint32(4, 0x40081000, true);
  image[8] = 0xee;
  view.setUint16(12, CHIPS[chip], true);
  view.setUint16(17, 65535, true); // any revision of the chip
  image[23] = 1; // SHA-256 appended

  view.setUint32(24, 0x3f400020, true);
  view.setUint32(28, first, true);
  describe(image.subarray(32, 288), { chip, version, project }, seed);
  fill(image.subarray(288, 32 + first), seed);
  view.setUint32(32 + first, 0x400d0020, true);
  view.setUint32(36 + first, second, true);
  fill(image.subarray(40 + first, 40 + first + second), seed.subarray(4));

  const end = DEMO_SIZE - 32;
  image[end - 1] = xor(image.subarray(32, 32 + first), xor(image.subarray(40 + first, 40 + first + second), 0xef));
  image.set(await sha256(image.subarray(0, end)), end);
  return image;
}

/** esp_app_desc_t */
function describe(at: Uint8Array, { version, project }: DemoImage, elf: Uint8Array): void {
  const view = new DataView(at.buffer, at.byteOffset, at.byteLength);
  view.setUint32(0, 0xabcd5432, true);
  const put = (offset: number, text: string, size: number) =>
    at.set(new TextEncoder().encode(text).subarray(0, size), offset);
  put(16, version, 32);
  put(48, project, 32);
  put(80, '12:00:00', 16);
  put(96, 'Jan  1 2026', 16);
  put(112, 'v5.2.1', 32);
  at.set(elf, 144);
  view.setUint16(178, 65535, true);
  at[180] = 16;
}

/** Bytes by xorshift32. */
function fill(at: Uint8Array, seed: Uint8Array): void {
  let state = new DataView(seed.buffer, seed.byteOffset).getUint32(0) || 1;
  for (let i = 0; i < at.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    at[i] = state;
  }
}

function xor(data: Uint8Array, start: number): number {
  return data.reduce((sum, byte) => sum ^ byte, start);
}

async function sha256(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', data));
}
