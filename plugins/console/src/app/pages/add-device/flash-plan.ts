// What is written where on a board's flash, and what is wrong with that before anything is sent.
import { CHIP_NAMES, chipOfId } from '../../core/chips';

export interface Part {
  what: string; // words for people: "boot loader"
  address: number;
  data: Uint8Array;
  name: string; // of the file
}

export const PARTITION_TABLE = 0x8000;
export const APPLICATION = 0x10000;
const SECTOR = 0x1000;
const IMAGE_MAGIC = 0xe9;
const TABLE_MAGIC = [0xaa, 0x50];

/** Where a chip's ROM looks for the boot loader; null: that depends on the chip, which is not known. */
export function bootloaderAddress(chip: string | null): number | null {
  if (!chip) return null;
  if (chip === 'esp32' || chip === 'esp32s2') return 0x1000;
  return ['esp32p4', 'esp32c5', 'esp32h4'].includes(chip) ? 0x2000 : 0;
}

/** "ESP32-S3" -> "esp32s3"; null: none that the server knows. */
export function chipOf(name: string): string | null {
  const chip = name.replace('-', '').toLowerCase();
  return CHIP_NAMES.includes(chip) ? chip : null;
}

/** "0x1000" or "4096" -> 4096; null: no address. */
export function address(text: string): number | null {
  const value = /^\s*(0x[0-9a-f]+|\d+)\s*$/i.test(text) ? Number(text) : NaN;
  return value <= 0xffff_ffff ? value : null;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** The chip that an image says it is for; null: it is no image, or says none that is known. */
export function imageChip(data: Uint8Array): string | null {
  return data.length >= 24 && data[0] === IMAGE_MAGIC ? chipOfId(data[12] | (data[13] << 8)) : null;
}

/** What a part must look like, by where it goes: words for what is wrong, or null. */
export function contentProblem(what: string, data: Uint8Array, chip: string | null): string | null {
  if (!data.length) return `The ${what} is an empty file.`;
  if (what === 'merged image') return null;
  if (what === 'partition table')
    return TABLE_MAGIC.every((byte, i) => data[i] === byte)
      ? null
      : 'The partition table is none: it begins otherwise.';
  if (data[0] !== IMAGE_MAGIC) return `The ${what} is no ESP32 image: it begins otherwise.`;
  const its = imageChip(data);
  return chip && its && its !== chip ? `The ${what} is for ${its}, and the board is an ${chip}.` : null;
}

/** Whether the parts fit beside each other and into the flash: words for what does not, or null. */
export function layoutProblem(
  parts: Pick<Part, 'what' | 'address' | 'data'>[],
  flashSize: number | null,
): string | null {
  const sorted = [...parts].sort((a, b) => a.address - b.address);
  for (const [i, { what, address, data }] of sorted.entries()) {
    if (address % SECTOR) return `The ${what} must begin at a multiple of ${hex(SECTOR)}.`;
    const end = address + data.length;
    if (flashSize !== null && end > flashSize)
      return `The ${what} ends at ${hex(end)}, and the flash has ${hex(flashSize)} bytes.`;
    const next = sorted[i + 1];
    // Whole sectors are erased: what shares one with its neighbour is lost.
    if (next && Math.ceil(end / SECTOR) * SECTOR > next.address)
      return `The ${what} reaches into the ${next.what} at ${hex(next.address)}.`;
  }
  return null;
}

/** The same by esptool, where the browser cannot. */
export function esptoolCommand(
  parts: { address: number | null; name: string }[],
  chip: string | null,
  eraseAll: boolean,
): string {
  const list = [...parts].sort((a, b) => (a.address ?? 0) - (b.address ?? 0));
  return [
    'esptool',
    chip ? `--chip ${chip}` : '--chip auto',
    'write_flash',
    ...(eraseAll ? ['--erase-all'] : []),
    ...list.map(({ address, name }) => `${address === null ? 'ADDRESS' : hex(address)} ${shell(name)}`),
  ].join(' ');
}

function shell(word: string): string {
  return /^[A-Za-z0-9._/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
