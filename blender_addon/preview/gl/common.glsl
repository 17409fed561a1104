// The split-sum shading of `render`. Each function mirrors the one of the same name in
// `render/preview/kernels/preview_triton.py`. sources.py declares `frame`, `part` and the samplers.

#define SMALLEST_SQUARE 1e-20
#define SHORTEST 1e-12
#define DIELECTRIC_F0 0.04
#define DIELECTRIC_MEAN_FRESNEL (0.5 / (4.08567 + 1.00071 * 1.5))
#define LARGEST_HALF 65504.0
#define TABLE_SIZE 48
// How Blender converts a color to a number.
#define LUMINANCE vec3(0.2126, 0.7152, 0.0722)

vec3 safe_normalize(vec3 vector)
{
  return vector / max(length(vector), SHORTEST);
}

// The light ------------------------------------------------------------------------------------------------------------

vec3 evaluate_irradiance(vec3 n)
{
  vec3 total = frame.irradiance[0].rgb * 0.28209479177387814;
  total += frame.irradiance[1].rgb * (n.y * 0.4886025119029199);
  total += frame.irradiance[2].rgb * (n.z * 0.4886025119029199);
  total += frame.irradiance[3].rgb * (n.x * 0.4886025119029199);
  total += frame.irradiance[4].rgb * (n.x * n.y * 1.0925484305920792);
  total += frame.irradiance[5].rgb * (n.y * n.z * 1.0925484305920792);
  total += frame.irradiance[6].rgb * ((3.0 * n.z * n.z - 1.0) * 0.31539156525252005);
  total += frame.irradiance[7].rgb * (n.x * n.z * 1.0925484305920792);
  total += frame.irradiance[8].rgb * ((n.x * n.x - n.y * n.y) * 0.5462742152960396);
  return max(total, vec3(0.0));
}

// `frame.places` holds the resolution, top and left of each level's strip of faces, and the level's roughness.
float roughness_to_level(float roughness)
{
  int last = int(frame.settings.z) - 1;
  if (last < 1) {
    return 0.0;
  }
  float clamped = clamp(roughness, frame.places[0].w, frame.places[last].w);
  int lower = 0;
  for (int number = 1; number < last; number++) {
    lower = clamped >= frame.places[number].w ? number : lower;
  }
  float start = frame.places[lower].w;
  float fraction = (clamped - start) / (frame.places[lower + 1].w - start);
  if (lower == 0 && frame.places[0].w == 0.0) {
    fraction *= fraction;
  }
  return min(float(lower) + fraction, float(last));
}

// Face, x and y in -1..1.
vec3 dir_to_cube(vec3 d)
{
  vec3 a = abs(d);
  if (a.x >= a.y && a.x >= a.z) {
    float side = d.x < 0.0 ? -1.0 : 1.0;
    return vec3(d.x < 0.0 ? 1.0 : 0.0, vec2(-side * d.z, -d.y) / max(a.x, SMALLEST_SQUARE));
  }
  if (a.y >= a.z) {
    float side = d.y < 0.0 ? -1.0 : 1.0;
    return vec3(d.y < 0.0 ? 3.0 : 2.0, vec2(d.x, side * d.z) / max(a.y, SMALLEST_SQUARE));
  }
  float side = d.z < 0.0 ? -1.0 : 1.0;
  return vec3(d.z < 0.0 ? 5.0 : 4.0, vec2(side * d.x, -d.y) / max(a.z, SMALLEST_SQUARE));
}

vec3 sample_level(vec3 cube, int level)
{
  vec4 place = frame.places[level];
  float middle = place.x * 0.5;
  vec2 at = clamp(cube.yz * middle + (middle + 0.5), 0.0, place.x + 0.5);
  vec2 whole = floor(at);
  vec2 share = at - whole;
  ivec2 first = ivec2(int(place.z) + int(cube.x) * (int(place.x) + 2), int(place.y)) + ivec2(whole);
  vec3 upper = mix(texelFetch(light_atlas, first, 0).rgb, texelFetch(light_atlas, first + ivec2(1, 0), 0).rgb, share.x);
  vec3 lower =
      mix(texelFetch(light_atlas, first + ivec2(0, 1), 0).rgb, texelFetch(light_atlas, first + ivec2(1, 1), 0).rgb, share.x);
  return mix(upper, lower, share.y);
}

vec3 sample_atlas(vec3 direction, float level)
{
  vec3 cube = dir_to_cube(direction);
  int lower = int(min(floor(level), max(frame.settings.z - 2.0, 0.0)));
  float share = level - float(lower);
  vec3 radiance = sample_level(cube, lower);
  if (share > 0.0) {
    radiance = mix(radiance, sample_level(cube, lower + 1), share);
  }
  return radiance;
}
