// A picture, or the error between two, as the display shows it, at its place in an image over a plain background.

float in_srgb(float value)
{
  return value <= 0.0031308 ? 12.92 * value : 1.055 * pow(value, 1.0 / 2.4) - 0.055;
}

vec3 table_texel(ivec3 at)
{
  return texelFetch(table, ivec2(at.x, at.y + at.z * SIDE), 0).rgb;
}

vec3 displayed(vec3 color)
{
  vec3 at = (log2(max(color, vec3(1e-9))) - FEWEST_STOPS) / (MOST_STOPS - FEWEST_STOPS) * float(SIDE - 1);
  at = clamp(at, vec3(0.0), vec3(float(SIDE - 1)));
  ivec3 first = min(ivec3(at), ivec3(SIDE - 2));
  vec3 share = at - vec3(first);
  vec3 total = vec3(0.0);
  for (int corner = 0; corner < 8; corner++) {
    ivec3 step_to = ivec3(corner & 1, (corner >> 1) & 1, corner >> 2);
    vec3 weights = mix(1.0 - share, share, vec3(step_to));
    total += weights.x * weights.y * weights.z * table_texel(first + step_to);
  }
  return total;
}

// From black over violet, red and yellow to white.
vec3 heat(float value)
{
  float t = clamp(value, 0.0, 1.0);
  vec3 cold = mix(vec3(0.0), vec3(0.35, 0.05, 0.55), clamp(t * 4.0, 0.0, 1.0));
  vec3 warm = mix(cold, vec3(0.9, 0.2, 0.15), clamp(t * 4.0 - 1.0, 0.0, 1.0));
  vec3 hot = mix(warm, vec3(1.0, 0.85, 0.2), clamp(t * 4.0 - 2.0, 0.0, 1.0));
  return mix(hot, vec3(1.0), clamp(t * 4.0 - 3.0, 0.0, 1.0));
}

vec4 pixel_of(sampler2D image, ivec2 at)
{
  return texelFetch(image, clamp(at, ivec2(0), textureSize(image, 0) - 1), 0);
}

// Mixed here, not in the texture unit, whose filter Python cannot choose.
vec4 texel_of(sampler2D image, vec2 at)
{
  vec2 place = at * vec2(textureSize(image, 0)) - 0.5;
  vec2 whole = floor(place);
  vec2 share = place - whole;
  ivec2 corner = ivec2(whole);
  if (min(abs(share.x - 0.5), abs(share.y - 0.5)) > 0.499) {
    return pixel_of(image, ivec2(round(place)));  // the picture has a pixel for each of the view
  }
  vec4 lower = mix(pixel_of(image, corner), pixel_of(image, corner + ivec2(1, 0)), share.x);
  vec4 upper = mix(pixel_of(image, corner + ivec2(0, 1)), pixel_of(image, corner + ivec2(1, 1)), share.x);
  return mix(lower, upper, share.y);
}

void main()
{
  vec2 at = (gl_FragCoord.xy - display.place.xy) / display.place.zw;
  vec3 shown = display.background.rgb;
  if (all(greaterThanEqual(at, vec2(0.0))) && all(lessThan(at, vec2(1.0)))) {
    vec4 one = texel_of(first, at);
    if (display.how.x < 0.5) {
      shown = mix(shown, displayed(max(one.rgb / max(one.a, 1e-4), vec3(0.0))), clamp(one.a, 0.0, 1.0));
    }
    else {
      vec4 other = texel_of(second, at);
      vec3 apart = vec3(0.0);
      for (int number = 0; number < 3; number++) {
        apart[number] = abs(in_srgb(max(one[number], 0.0)) - in_srgb(max(other[number], 0.0)));
      }
      float worst = max(max(apart.r, apart.g), apart.b);
      shown = mix(shown, heat(worst * display.how.y), clamp(max(one.a, other.a), 0.0, 1.0));
    }
  }
  if (display.how.z > 0.5) {
    // What Blender makes of what is drawn over a view: it decodes sRGB and encodes with an exponent of 2.2.
    for (int number = 0; number < 3; number++) {
      shown[number] = in_srgb(pow(max(shown[number], 0.0), 2.2));
    }
  }
  drawn_color = vec4(shown, 1.0);
}
