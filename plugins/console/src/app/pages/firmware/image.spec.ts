import { CHIP_NAMES } from '../../core/chips';
import { DEMO_SIZE, makeDemoImage } from './demo-image';
import { HEADER_SIZE, LARGEST, readFile, readHeader, revision } from './image';

const demo = (chip = 'esp32s3', version = '1.2.0') => makeDemoImage({ chip, version, project: 'demo' });

function problemOf(bytes: number[] | Uint8Array, size = bytes.length): string {
  const reading = readHeader(Uint8Array.from(bytes), size);
  return 'problem' in reading ? reading.problem : '';
}

describe('readHeader', () => {
  it('reads what an image says of itself', async () => {
    for (const chip of CHIP_NAMES) {
      const image = await demo(chip);
      expect(readHeader(image.subarray(0, HEADER_SIZE), image.length)).toEqual({
        header: {
          chip,
          version: '1.2.0',
          project: 'demo',
          idf: 'v5.2.1',
          built: 'Jan  1 2026 12:00:00',
          secureVersion: 0,
          minChipRevision: 0,
          arduino: false,
        },
      });
    }
  });

  it('reads a text that fills its field', async () => {
    const image = await demo('esp32', 'v'.repeat(32));
    expect(readHeader(image, image.length)).toMatchObject({ header: { version: 'v'.repeat(32), project: 'demo' } });
  });

  it('tells the images of the Arduino core', async () => {
    const image = await makeDemoImage({ chip: 'esp32', version: 'dd8478c', project: 'arduino-lib-builder' });
    expect(readHeader(image, image.length)).toMatchObject({ header: { arduino: true } });
  });

  it('says what another file is', async () => {
    expect(problemOf([])).toContain('empty');
    expect(problemOf([0x7f, 0x45, 0x4c, 0x46, 1])).toContain('ELF');
    expect(problemOf([0x50, 0x4b, 3, 4])).toContain('ZIP');
    expect(problemOf([0xaa, 0x50, 1, 2])).toContain('partition table');
    expect(problemOf(new Uint8Array(HEADER_SIZE).fill(0xff))).toContain('whole flash');
    expect(problemOf([0x68, 0x69])).toContain('begins with 68');
    expect(problemOf([0xe9, 3, 2, 0x20])).toContain('too short');
    expect(problemOf([0xe9], LARGEST + 1)).toContain('16 MiB');
  });

  it('refuses bootloaders, unknown chips and impossible counts', async () => {
    const image = (await demo()).slice(0, HEADER_SIZE);
    const changed = (at: number, byte: number) =>
      problemOf(
        image.map((old, i) => (i === at ? byte : old)),
        DEMO_SIZE,
      );
    expect(changed(32, 0x50)).toContain('bootloader');
    expect(changed(12, 99)).toContain('id 99');
    expect(changed(1, 0)).toContain('0 segments');
    expect(changed(1, 17)).toContain('17 segments');
  });

  it('reads files', async () => {
    expect(await readFile(new Blob([await demo('esp32c6')]))).toMatchObject({ header: { chip: 'esp32c6' } });
    expect(await readFile(new Blob([]))).toEqual({ problem: 'The file is empty.' });
  });
});

describe('makeDemoImage', () => {
  it('makes an image whose segments, checksum and hash are sound', async () => {
    const image = await demo();
    const view = new DataView(image.buffer);
    expect(image.length).toBe(DEMO_SIZE);
    let at = 24;
    let sum = 0xef;
    for (let i = 0; i < image[1]; i++) {
      const length = view.getUint32(at + 4, true);
      expect(length % 4).toBe(0);
      for (const byte of image.subarray(at + 8, at + 8 + length)) sum ^= byte;
      at += 8 + length;
    }
    const end = (Math.floor(at / 16) + 1) * 16;
    expect(end + 32).toBe(image.length);
    expect(image[end - 1]).toBe(sum);
    expect([...image.subarray(at, end - 1)].every((byte) => byte === 0)).toBe(true);
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', image.subarray(0, end)));
    expect([...image.subarray(end)]).toEqual([...hash]);
  });

  it('makes the same for the same words, and another for others', async () => {
    expect(await demo()).toEqual(await demo());
    expect(await demo('esp32s3', '1.2.1')).not.toEqual(await demo());
  });
});

describe('revision', () => {
  it('writes major and minor', () => {
    expect([revision(0), revision(301), revision(99)]).toEqual(['v0.0', 'v3.1', 'v0.99']);
  });
});
