// What an ESP32 application image says of itself, read from its first bytes before it is uploaded. The server checks the
// whole of it (core/fleet/image.c); what is refused here is what cannot be one.

import { chipOfId } from '../../core/chips';

export const HEADER_SIZE = 288; // header, first segment's header, description
export const LARGEST = 16 << 20;
const DESCRIPTION = 32;
const ARDUINO = 'arduino-lib-builder'; // the project that all images built with the Arduino core report

export interface ImageHeader {
  chip: string;
  version: string;
  project: string;
  idf: string;
  built: string;
  secureVersion: number;
  minChipRevision: number;
  /** Whether version and project are those of the Arduino core, the same for all its images. */
  arduino: boolean;
}

export type Reading = { header: ImageHeader } | { problem: string };

/** What files of other kinds begin with, and what is said of them. */
const OTHERS: [start: number[], problem: string][] = [
  [
    [0x7f, 0x45, 0x4c, 0x46],
    'This is the ELF file, which is for debugging. Upload the .bin file that is built beside it.',
  ],
  [[0x50, 0x4b, 3, 4], 'This is a ZIP archive. Upload the .bin file in it.'],
  [[0x1f, 0x8b], 'This is compressed with gzip. Upload the .bin file in it.'],
  [[0x55, 0x46, 0x32, 0x0a], 'This is a UF2 file. Upload the .bin file of the application.'],
  [[0xaa, 0x50], 'This is a partition table. Upload the application, which is a .bin file of its own.'],
  [[0xff, 0xff, 0xff, 0xff], 'This looks like an image of the whole flash. Upload the application alone.'],
];

/** `start`: the first HEADER_SIZE bytes of a file of `size`. */
export function readHeader(start: Uint8Array, size: number): Reading {
  if (size === 0) return { problem: 'The file is empty.' };
  if (size > LARGEST) return { problem: 'The file is larger than 16 MiB: no ESP32 application is.' };
  const other = OTHERS.find(([bytes]) => bytes.every((byte, i) => start[i] === byte));
  if (other) return { problem: other[1] };
  if (start[0] !== 0xe9) {
    return { problem: `An ESP32 image begins with the byte E9; this file begins with ${hex(start[0])}.` };
  }
  if (start.length < HEADER_SIZE) return { problem: 'The file is too short for an ESP32 application.' };
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  if (view.getUint32(DESCRIPTION, true) !== 0xabcd5432) {
    return {
      problem:
        'This is a bootloader, or an image of the whole flash: it has no description of an application. ' +
        'Upload the application alone, usually build/PROJECT.bin.',
    };
  }
  const id = view.getUint16(12, true);
  const chip = chipOfId(id);
  if (!chip) return { problem: `The image is for a chip with the id ${id}, which is not known here.` };
  if (start[1] < 1 || start[1] > 16)
    return { problem: `The image says it has ${start[1]} segments; 1 to 16 are possible.` };
  const text = (offset: number, length: number) =>
    readText(start.subarray(DESCRIPTION + offset, DESCRIPTION + offset + length));
  const project = text(48, 32);
  return {
    header: {
      chip,
      version: text(16, 32),
      project,
      idf: text(112, 32),
      built: `${text(96, 16)} ${text(80, 16)}`.trim(),
      secureVersion: view.getUint32(DESCRIPTION + 4, true),
      minChipRevision: view.getUint16(15, true),
      arduino: project === ARDUINO,
    },
  };
}

export async function readFile(file: Blob): Promise<Reading> {
  try {
    return readHeader(new Uint8Array(await file.slice(0, HEADER_SIZE).arrayBuffer()), file.size);
  } catch {
    return { problem: 'The file cannot be read.' }; // a folder, or it is gone
  }
}

/** Of 0..65535, major * 100 + minor: "v3.1" */
export function revision(value: number): string {
  return `v${Math.floor(value / 100)}.${value % 100}`;
}

/** Strings fill their field, and may lack the closing NUL. */
function readText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)).trim();
}

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}
