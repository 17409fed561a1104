// The terms of a table on the nodes of `GgxTable`, in two texels side by side. Those of that table: scale, bias, dielectric,
// lean | lobe roughness, mean albedo, dielectric lean, dielectric lobe roughness.
void table_lookup(sampler2D table, float roughness, float n_dot_v, out vec4 first_terms, out vec4 last_terms)
{
  vec2 at = sqrt(clamp(vec2(n_dot_v, roughness), 1e-4, 1.0)) * float(TABLE_SIZE - 1);
  vec2 first = min(floor(at), float(TABLE_SIZE - 2));
  vec2 share = at - first;
  first_terms = vec4(0.0);
  last_terms = vec4(0.0);
  for (int corner = 0; corner < 4; corner++) {
    ivec2 step_to = ivec2(corner & 1, corner >> 1);
    ivec2 texel = ivec2(first) + step_to;
    vec2 along = mix(1.0 - share, share, vec2(step_to));
    first_terms += along.x * along.y * texelFetch(table, ivec2(texel.x * 2, texel.y), 0);
    last_terms += along.x * along.y * texelFetch(table, ivec2(texel.x * 2 + 1, texel.y), 0);
  }
}

float multiple_bounces(float mean_fresnel, float mean_albedo)
{
  return mean_fresnel * mean_albedo / (1.0 - mean_fresnel * (1.0 - mean_albedo));
}

vec3 outgoing_radiance(vec3 kd, float roughness, float metallic, vec3 normal, vec3 view)
{
  float seen = max(dot(normal, view), 1e-3);
  vec4 first_terms;
  vec4 last_terms;
  table_lookup(ggx_table, roughness, seen, first_terms, last_terms);
  float scale = first_terms.x, bias = first_terms.y, mean_albedo = last_terms.y;
  float missing = (1.0 - (scale + bias)) / (scale + bias);
  float coat = first_terms.z * (1.0 + missing * multiple_bounces(DIELECTRIC_MEAN_FRESNEL, mean_albedo));
  vec3 mean_fresnel = kd * (20.0 / 21.0) + 1.0 / 21.0;
  vec3 bounced = mean_fresnel * mean_albedo / (1.0 - mean_fresnel * (1.0 - mean_albedo));
  vec3 specular = metallic * ((kd * scale + bias) * (1.0 + missing * bounced)) + (1.0 - metallic) * coat;
  vec3 diffuse = kd * ((1.0 - metallic) * (1.0 - coat));

  float f0 = max((kd.r + kd.g + kd.b) / 3.0 - DIELECTRIC_F0, 0.0) * metallic + DIELECTRIC_F0;
  float dielectric = scale * DIELECTRIC_F0 + bias;
  float share = (1.0 - f0) * dielectric / ((f0 * scale + bias) * (1.0 - DIELECTRIC_F0));
  float lean = first_terms.w + share * (last_terms.z - first_terms.w);
  float lobe_roughness = last_terms.x + share * (last_terms.w - last_terms.x);
  vec3 reflected = normal * (2.0 * seen) - view;
  vec3 direction = normal + lean * (reflected - normal);
  return diffuse * evaluate_irradiance(normal) + specular * sample_atlas(direction, roughness_to_level(lobe_roughness));
}

LOBES
// The look's textures --------------------------------------------------------------------------------------------------

// A footprint's side in texels: the level of detail follows its area, whatever its shape.
float level_of(float footprint, vec2 size)
{
  return log2(max(footprint * sqrt(size.x * size.y), 1e-6));
}

// Read and mix texels here, not in the texture unit, whose filters (anisotropic, coarse between levels) differ between
// drivers. In a level of the map, the texels start at `origin`.
vec4 level_texel(sampler2D map, vec2 uv, ivec2 origin, ivec2 size, int level)
{
  vec2 at = uv * vec2(size) - 0.5;
  vec2 whole = floor(at);
  vec2 share = at - whole;
  ivec2 first = ivec2(whole);
  ivec2 next = first + 1;
  first = ivec2(first.x < 0 ? size.x - 1 : first.x, first.y < 0 ? size.y - 1 : first.y);
  next = ivec2(next.x >= size.x ? 0 : next.x, next.y >= size.y ? 0 : next.y);
  vec4 a = texelFetch(map, origin + first, level);
  vec4 b = texelFetch(map, origin + ivec2(next.x, first.y), level);
  vec4 c = texelFetch(map, origin + ivec2(first.x, next.y), level);
  vec4 d = texelFetch(map, origin + next, level);
  return mix(mix(a, b, share.x), mix(c, d, share.x), share.y);
}

// Sample an image of Blender's, which has its own coarser levels, at most levels.z; row 0 is the bottom row.
vec4 image_texel(sampler2D image, vec2 uv, float footprint, vec4 levels)
{
  ivec2 size = textureSize(image, 0);
  float coarsest = clamp(floor(log2(float(min(size.x, size.y)))) - 2.0, 0.0, levels.z - 1.0);
  float level = clamp(level_of(footprint, vec2(size)), 0.0, coarsest);
  int lower = int(level);
  float share = level - float(lower);
  vec2 wrapped = fract(uv);
  vec4 texel = level_texel(image, wrapped, ivec2(0), size >> lower, lower);
  if (share > 0.0) {
    texel = mix(texel, level_texel(image, wrapped, ivec2(0), size >> (lower + 1), lower + 1), share);
  }
  return texel;
}

// A strip (see values.py) has the coarser levels beside the finest; row 0 is the top row.
vec4 strip_level(sampler2D strip, vec2 uv, ivec2 finest, int level)
{
  ivec2 origin = level == 0 ? ivec2(0) : ivec2(finest.x, finest.y - (finest.y >> (level - 1)));
  return level_texel(strip, uv, origin, ivec2(finest.x >> level, finest.y >> level), 0);
}

// size: width and height of the finest level, and the number of levels.
vec4 strip_texel(sampler2D strip, vec2 uv, float footprint, vec4 size)
{
  vec2 wrapped = fract(vec2(uv.x, 1.0 - uv.y));
  float level = clamp(level_of(footprint, size.xy), 0.0, size.z - 1.0);
  int lower = int(level);
  float share = level - float(lower);
  vec4 texel = strip_level(strip, wrapped, ivec2(size.xy), lower);
  if (share > 0.0) {
    texel = mix(texel, strip_level(strip, wrapped, ivec2(size.xy), lower + 1), share);
  }
  return texel;
}

void main()
{
  // The footprint is that of a pixel, which may have several samples.
  vec2 uv_dx = dFdx(seen_uv) * frame.settings.y;
  vec2 uv_dy = dFdy(seen_uv) * frame.settings.y;
  float footprint = sqrt(abs(uv_dx.x * uv_dy.y - uv_dx.y * uv_dy.x));

  vec3 kd = part.color.rgb;
  float alpha = part.color.a;
  float roughness = part.surface.x;
  float metallic = part.surface.y;
  float openness = part.surface.z;
  vec3 normal_map = vec3(0.0, 0.0, 1.0);
#ifdef HAS_LOBES
  float coat = part.coat.x;
  float coat_roughness = part.coat.y;
  float sheen_roughness = part.coat.z;
  float sheen = part.sheen.a;
  vec3 sheen_tint = part.sheen.rgb;
  float emission_strength = part.emission.a;
  vec3 emission = part.emission.rgb;
#endif
  LOOK_UP

  // Discard instead of blending: the depth of this fragment would hide what is behind it.
  if (alpha < 1.0 / 255.0) {
    discard;
  }

  vec3 view = safe_normalize(frame.eye.xyz - frame.eye.w * seen_position);
  // A mirrored part reverses its triangles.
  float facing = gl_FrontFacing ? part.surface.w : -part.surface.w;
  float bitangent_sign = (seen_tangent.w < 0.0 ? -1.0 : 1.0) * part.surface.w * facing;
  vec3 smooth_normal = safe_normalize(seen_normal) * facing;
  vec3 turned_tangent = seen_tangent.xyz * facing;
  vec3 bitangent = cross(smooth_normal, turned_tangent) * bitangent_sign;
  vec3 normal =
      safe_normalize(turned_tangent * normal_map.x + bitangent * normal_map.y + smooth_normal * normal_map.z);

  int channel = int(frame.settings.x);
  vec3 color;
  if (channel == CHANNEL_SHADED) {
    color = outgoing_radiance(kd, roughness, metallic, normal, view) * openness;
#ifdef HAS_LOBES
    vec4 fibres = vec4(clamp(sheen_tint * sheen, 0.0, 1.0), sheen_roughness);
    vec3 shine = max(emission * emission_strength, vec3(0.0));
    color = with_lobes(color, vec2(coat, coat_roughness), fibres, shine, openness, normal, smooth_normal, view);
#endif
  }
  else if (channel == CHANNEL_KD) {
    color = kd;
  }
  else if (channel == CHANNEL_OCCLUSION) {
    color = vec3(openness);
  }
  else if (channel == CHANNEL_ROUGHNESS) {
    color = vec3(roughness);
  }
  else if (channel == CHANNEL_METALLIC) {
    color = vec3(metallic);
  }
  else if (channel == CHANNEL_NORMAL) {
    color = (normal + 1.0) * 0.5;
  }
  else if (channel == CHANNEL_LIGHT) {
    color = evaluate_irradiance(normal);
  }
  else {
    // The distance along the camera's axis; opaque, because a mean of distances is not a distance.
    drawn_color = vec4(vec3(dot(frame.axis.xyz, seen_position)), 1.0);
    return;
  }
  drawn_color = vec4(clamp(color * alpha, vec3(0.0), vec3(LARGEST_HALF)), alpha);
}
