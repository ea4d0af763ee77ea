// The chips that the server knows, by the ids that images name in their head (esp_chip_id_t of ESP-IDF).
export const CHIPS: Record<string, number> = {
  esp32: 0,
  esp32s2: 2,
  esp32s3: 9,
  esp32c2: 12,
  esp32c3: 5,
  esp32c5: 23,
  esp32c6: 13,
  esp32c61: 20,
  esp32h2: 16,
  esp32h21: 25,
  esp32h4: 28,
  esp32p4: 18,
};

export const CHIP_NAMES = Object.keys(CHIPS);

/** null: none that is known. */
export function chipOfId(id: number): string | null {
  return CHIP_NAMES.find((name) => CHIPS[name] === id) ?? null;
}
